"""Starts the workers: one that makes a model, one that answers texts, each in the peer's environment."""

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryFile
from threading import Timer

from benchmarks.peers.environments import python_of
from benchmarks.peers.registry import Peer
from compress.clock import Stopwatch

ROOT = Path(__file__).parents[2]
MAKE_SECONDS, ANSWER_SECONDS = 3600, 600


class PeerFailedError(Exception):
    """A worker ended without an answer; the message is the last line that says why."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One process that answered all texts.

    Attributes:
        cold_start_s: from the start of the process to the first answer.
        peak_bytes: the process's peak of memory.
        labels: one for each text.
        ms: from text to label, one text at a time.
    """

    cold_start_s: float
    peak_bytes: int
    labels: list[str]
    ms: list[float]

    def as_dict(self) -> dict[str, object]:
        """As it is kept."""
        return asdict(self)


def make(peer: Peer, teacher: Path, data: Path, out: Path, environments: Path, threads: int) -> None:
    """Have the peer make its model in ``out``.

    Raises:
        PeerFailedError: it did not, with its last words.
    """
    command = _command(peer, environments, "make", teacher, data, out)
    with TemporaryFile() as errors:
        try:
            ended = subprocess.run(
                command, cwd=ROOT, env=_environment(threads), stderr=errors, timeout=MAKE_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            raise PeerFailedError(f"it was not made in {MAKE_SECONDS} s") from None
        if ended.returncode:
            raise PeerFailedError(_last_words(errors))


def answer(peer: Peer, folder: Path, texts: Path, environments: Path, threads: int) -> Turn:
    """Have the peer answer the JSON list ``texts`` in a fresh process.

    Raises:
        PeerFailedError: it did not, with its last words.
    """
    command = _command(peer, environments, "answer", folder, texts, threads)
    watch = Stopwatch()
    with (
        TemporaryFile() as errors,
        subprocess.Popen(
            command, cwd=ROOT, env=_environment(threads), stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        assert process.stdout is not None
        too_long = Timer(ANSWER_SECONDS, process.kill)
        too_long.start()
        try:
            first, cold_start_s, rest = process.stdout.readline(), watch.seconds, process.stdout.read()
        finally:
            too_long.cancel()
        if not first or not rest:
            late = watch.seconds >= ANSWER_SECONDS
            raise PeerFailedError(f"it did not answer in {ANSWER_SECONDS} s" if late else _last_words(errors))
    return Turn(cold_start_s=cold_start_s, **json.loads(rest))


def _command(peer: Peer, environments: Path, task: str, *given: object) -> list[str]:
    python = sys.executable if peer.environment is None else str(python_of(peer.environment, environments))
    return [python, "-m", "benchmarks.peers.worker", task, peer.module, *map(str, given)]


def _environment(threads: int) -> dict[str, str]:
    here = {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    return os.environ | here | {"OMP_NUM_THREADS": str(threads)}


def _last_words(errors: object) -> str:
    errors.seek(0)  # type: ignore[attr-defined]  # a temporary file has no public type
    lines = errors.read().decode(errors="replace").split("\n")  # type: ignore[attr-defined]
    said = [line.strip() for line in lines if line.strip()]
    return said[-1][:300] if said else "it ended without a word"
