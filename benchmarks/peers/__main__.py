"""Other tools beside ours: same teacher, data, threads and machine, in turns.

python -m benchmarks.peers TEACHER DATA --ours FOLDER... [--only NAME...] [--environments DIR] [--work DIR]

Every peer makes a model from the teacher, by its documented best settings and in an environment of its own. Then all
answer all test texts, one text at a time, in fresh processes: each peer once a round, right after the first of our
folders, the order reversed every round. What was made and measured is kept in ``--work``, and a run that was stopped
goes on there; remove a peer's folder in it to have the peer tried again. Writes ``benchmarks/results/peers.json``.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

from benchmarks.kept import RESULTS, about, write
from benchmarks.peers.figures import figures
from benchmarks.peers.registry import NOT_TRIED, PEERS, TEACHER, ours
from benchmarks.peers.rounds import Contender, prepare, rounds
from compress.config import DataConfig
from compress.data.dataset import Dataset, write_dataset
from compress.data.read import read_dataset
from compress.folder import read_manifest
from compress.machine import usable_cpus

ROOT = Path(__file__).parents[2]


def main() -> None:
    """Make, measure, write."""
    asked = arguments()
    dataset = read_dataset(DataConfig(data=asked.data))
    if dataset.task != "single_label":
        raise SystemExit(f"{asked.data}: peers are compared on single texts with one label, got {dataset.task}")
    if len({folder.name for folder in asked.ours}) < len(asked.ours):
        raise SystemExit("--ours: two folders have the same name, by which their turns are kept; rename one")
    settings = describe(asked, dataset)
    texts = set_up(asked.work, settings, dataset, asked.texts)
    contenders = [Contender(ours(folder.name), folder) for folder in asked.ours]
    contenders += [
        prepare(peer, asked.teacher, asked.work, asked.environments, asked.threads)
        for peer in PEERS
        if not asked.only or peer.name in (*asked.only, TEACHER.name)
    ]
    turns = rounds(contenders, texts, asked.work, asked.environments, asked.threads, asked.rounds)
    truth = [labels[0] for labels in dataset.test.labels[: asked.texts]]
    results = about([asked.threads]) | settings
    results |= {"rounds": asked.rounds, "peers": figures(contenders, turns, truth), "not_tried": NOT_TRIED}
    write(asked.out, results)
    print(asked.out)


def arguments() -> argparse.Namespace:
    """Of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("teacher", type=_absolute)
    parser.add_argument("data")
    parser.add_argument("--ours", type=_absolute, nargs="+", required=True)
    parser.add_argument("--only", nargs="+", choices=[peer.name for peer in PEERS], metavar="NAME")
    parser.add_argument("--environments", type=_absolute, default=os.environ.get("COMPRESS_PEERS", ROOT / ".peers"))
    parser.add_argument("--work", type=_absolute, default=ROOT / "runs" / "peers")
    parser.add_argument("--threads", type=int, default=usable_cpus())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--texts", type=int, help="of the test split (default: all)")
    parser.add_argument("--out", type=Path, default=RESULTS / "peers.json")
    return parser.parse_args()


def _absolute(path: str) -> Path:
    return Path(path).absolute()


def describe(asked: argparse.Namespace, dataset: Dataset) -> dict[str, Any]:
    """What all peers share; a work folder holds turns of one such set alone."""
    return {
        "teacher": asked.teacher.name,
        "teacher_digest": read_manifest(asked.teacher).digest,
        "data": Path(asked.data).name,
        "data_digest": dataset.digest,
        "texts": len(dataset.test.texts[: asked.texts]),
        "threads": asked.threads,
        "ours": {folder.name: read_manifest(folder).digest for folder in asked.ours},
    }


def set_up(work: Path, settings: dict[str, Any], dataset: Dataset, texts: int | None) -> Path:
    """The data as all peers read them, and the file of the texts to answer."""
    kept = work / "settings.json"
    if kept.is_file() and json.loads(kept.read_text(encoding="utf-8")) != settings:
        raise SystemExit(f"{work} holds another comparison; remove it or give another --work")
    write_dataset(dataset, work / "data")
    (work / "texts.json").write_text(json.dumps(dataset.test.texts[:texts]), encoding="utf-8")
    kept.write_text(json.dumps(settings), encoding="utf-8")
    return work / "texts.json"


if __name__ == "__main__":
    main()
