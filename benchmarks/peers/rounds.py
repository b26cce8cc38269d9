"""Makes each peer's model once and takes the rounds; both are kept as they come, so that a stopped run goes on."""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.kept import add_line, read_lines
from benchmarks.peers import processes
from benchmarks.peers.environments import CannotInstallError
from benchmarks.peers.processes import PeerFailedError
from benchmarks.peers.registry import Peer
from compress.clock import Stopwatch

Turns = Mapping[str, Sequence[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class Contender:
    """A peer with its model, or with the reason why it has none.

    Attributes:
        peer: who.
        folder: its model, which answering reads.
        made_in_s: how long making it took; None for ours, which were there.
        failed: why it does not run here.
    """

    peer: Peer
    folder: Path
    made_in_s: float | None = None
    failed: str | None = None


def prepare(peer: Peer, teacher: Path, work: Path, environments: Path, threads: int) -> Contender:
    """The peer's model, made where no earlier run has tried."""
    place = work / peer.module
    told = place / "made.json"
    if not told.is_file():
        print(f"making {peer.name}", file=sys.stderr)
        shutil.rmtree(place, ignore_errors=True)
        (place / "model").mkdir(parents=True)
        told.write_text(json.dumps(_make(peer, teacher, work, environments, threads)), encoding="utf-8")
    return Contender(peer, place / "model", **json.loads(told.read_text(encoding="utf-8")))


def _make(peer: Peer, teacher: Path, work: Path, environments: Path, threads: int) -> dict[str, Any]:
    watch = Stopwatch()
    try:
        processes.make(peer, teacher, work / "data", work / peer.module / "model", environments, threads)
    except (CannotInstallError, PeerFailedError) as error:
        return {"failed": str(error)}
    return {"made_in_s": watch.seconds}


def rounds(
    contenders: Sequence[Contender], texts: Path, work: Path, environments: Path, threads: int, count: int
) -> Turns:
    """Each contender once a round, after the first one, whose median is kept beside the turn as ``reference_ms``."""
    first = contenders[0]
    able = [one for one in contenders if one.failed is None]
    for number in range(count):
        for one in reversed(able) if number % 2 else able:
            kept = _kept(work, one.peer)
            if len(read_lines(kept)) > number:
                continue
            print(f"round {number + 1}: {one.peer.name}", file=sys.stderr)
            reference = processes.answer(first.peer, first.folder, texts, environments, threads)
            turn = _turn(one, texts, environments, threads) | {"reference_ms": median(reference.ms)}
            add_line(kept, turn)
    return {one.peer.name: read_lines(_kept(work, one.peer))[:count] for one in able}


def _turn(one: Contender, texts: Path, environments: Path, threads: int) -> dict[str, Any]:
    try:
        return processes.answer(one.peer, one.folder, texts, environments, threads).as_dict()
    except PeerFailedError as error:
        return {"failed": str(error)}


def _kept(work: Path, peer: Peer) -> Path:
    folder = work / (peer.module if peer.environment else peer.name.replace(" ", "-"))
    folder.mkdir(exist_ok=True)
    return folder / "turns.jsonl"
