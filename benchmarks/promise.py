"""Does the loss that `compress auto` promises hold on test? Winners over small sets of texts, drawn from real data.

    python -m benchmarks.promise [--sets SET...] [--draws 4] [--hours 0.25] [--data ../shared/data] [--out runs/promise]
                                 [--results benchmarks/results/promise.jsonl] [--threads 1]

A set's teacher is trained once. Each draw takes 300, 600 or 1,500 validation texts of those that the teacher was not
trained on, and another seed for its search. All are drawn anew from that one pool, so they overlap. By turns the
fastest model that loses at most 2 points is wanted, and the most accurate one that is 4 times as fast. Texts that share
passages stay together, and of SST-2's phrases only whole sentences are drawn, as its test texts are. The promise is
made by half of the validation texts, which nothing was chosen by; the test texts are read once, after it.

Every search adds a line to the results as soon as it is done; what has a line is not done again, and one that was
interrupted goes on. Prints the table; exit status 1 if a search failed.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

import compress
from benchmarks.auto import figures, held, how_many_held, promised, with_interval
from benchmarks.kept import RESULTS, Row, add_choice, each_once, markdown, need_folders, read_last
from compress.config import DataConfig
from compress.data import Dataset, Split, Task, write_dataset
from compress.data.read import read_dataset
from compress.data.split import hold_out, kindred

ENCODER = "demo:minilm"
SIZES = (300, 600, 1500)  # validation texts of the draws, by turns; fewer where the set has no more
GOALS: tuple[Row, ...] = ({"speedup": 4.0}, {"max_drop": 2.0})
_TEACHERS_OWN = 200  # validation texts of the teacher's training, which no draw has
_TEACHER: Row = {"patience": 100, "freeze_embeddings": True}  # to the end, and fast
_GOALS_IN_WORDS = {"speedup": "{:g}x as fast", "max_drop": "{:g} points"}


@dataclass(frozen=True)
class Set:
    """Which texts of a data set are drawn from, those with one of ``labels`` alone, and how the teacher is trained."""

    train_texts: int
    teacher: dict[str, Any]
    labels: tuple[str, ...] = ()  # none: all
    phrases: bool = False  # whether whole sentences stand among phrases of theirs


SETS = {
    "banking77": Set(
        900,
        {"epochs": 5, "batch_size": 32, "learning_rate": 2.5e-4, "max_length": 64},
        labels=(  # the most frequent
            "card_payment_fee_charged",
            "direct_debit_payment_not_recognised",
            "balance_not_updated_after_cheque_or_cash_deposit",
            "wrong_amount_of_cash_received",
            "cash_withdrawal_charge",
            "transaction_charged_twice",
            "declined_cash_withdrawal",
            "transfer_fee_charged",
            "transfer_not_received_by_recipient",
            "balance_not_updated_after_bank_transfer",
            "request_refund",
            "card_payment_not_recognised",
        ),
    ),
    "sst2": Set(800, {"epochs": 3, "batch_size": 32, "learning_rate": 1.2e-4, "max_length": 64}, phrases=True),
    "goemotions": Set(
        1200,
        {"epochs": 3, "batch_size": 32, "learning_rate": 1.2e-4, "max_length": 64},
        labels=("admiration", "amusement", "gratitude", "love"),
    ),
}


def texts_of(one: Set, data: Path) -> Dataset:
    """The texts that belong to the set: to draw from, under train, and to test on; none for validation."""
    found = read_dataset(DataConfig(data=str(data)))
    pool = Split(found.train.texts + found.validation.texts, found.train.labels + found.validation.labels)
    if one.phrases:
        pool = pool.of_rows(whole_sentences(pool.texts))
    if not one.labels:
        return Dataset(found.task, found.labels, pool, Split([], []), found.test)
    task: Task = "pair_single_label" if found.pairs else "single_label"
    drawn, test = (
        each.of_rows(row for row, labels in enumerate(each.labels) if len(labels) == 1 and labels[0] in one.labels)
        for each in (pool, found.test)
    )
    return Dataset(task, tuple(sorted(one.labels)), drawn, Split([], []), test)


def whole_sentences(texts: Sequence[Any]) -> list[int]:
    """The rows of the longest text of each group of kin: the sentence that the others are phrases of."""
    longest: dict[int, int] = {}
    for row, group in enumerate(kindred(texts).tolist()):
        if group not in longest or len(texts[row]) > len(texts[longest[group]]):
            longest[group] = row
    return sorted(longest.values())


def divided(whole: Dataset, train_texts: int, draw: int) -> tuple[Dataset, Dataset]:
    """What the teacher is trained with, the same for all draws, and what the search of the draw has."""
    pool = whole.train
    own, train, others = map(pool.of_rows, hold_out(pool.texts, pool.labels, [_TEACHERS_OWN, train_texts], 0))
    validation = others.of_rows(hold_out(others.texts, others.labels, [SIZES[draw % len(SIZES)]], draw)[0])
    first, second = (Dataset(whole.task, whole.labels, train, each, whole.test) for each in (own, validation))
    return first, second


def search(asked: Row, given: argparse.Namespace) -> Row:
    """One winner, and what was promised of it."""
    name, draw = asked["set"], asked["draw"]
    one, place = SETS[name], given.out / name
    for_teacher, for_search = divided(texts_of(one, given.data / name), one.train_texts, draw)
    teacher, folder = place / "teacher", place / f"draw-{draw}"
    if not teacher.exists():
        write_dataset(for_teacher, place / "data")
        compress.finetune(ENCODER, place / "data", teacher, **one.teacher, **_TEACHER, threads=given.threads)
    write_dataset(for_search, place / f"data-{draw}")
    goal = GOALS[(list(SETS).index(name) + draw) % len(GOALS)]
    about = {"train_texts": len(for_search.train), "validation_texts": len(for_search.validation)}
    settings = goal | {"hours": given.hours, "seed": draw, "threads": given.threads}
    return {"goal": goal} | about | figures(teacher, place / f"data-{draw}", folder, **settings)


def table(rows: Sequence[Row]) -> str:
    """A winner a line, how many promises held, and what the texts that the winners were picked by would have said."""
    heads = ["data", "validation texts", "goal", "winner", "tries", "loss when picked", "promised (95%)"]
    found = [row for row in rows if "failed" not in row]
    cells = [
        [
            row["set"],
            f"{row['validation_texts']:,}",
            ", ".join(_GOALS_IN_WORDS[name].format(value) for name, value in row["goal"].items()),
            row["model"],
            row["tries"],
            f"{row['loss_when_picked']:.1f}",
            promised(row),
            with_interval(row["test_loss"], row["test_loss_ci95"]),
            f"{row['speedup_over_int8']:.1f}x",
            "none" if row["promised_on_test"] is None else "yes" if held(row) else "no",
        ]
        for row in found
    ]
    cells += [[row["set"], "", "", f"failed: {row['failed']}"] for row in rows if "failed" in row]
    heads += ["test loss (95%)", "times the teacher's int8", "held"]
    return f"{markdown([heads, *cells], words=len(heads))}\n{' '.join([how_many_held(found), *_bias(found)])}\n"


def _bias(rows: Sequence[Row]) -> list[str]:
    """How far the test's loss is from what was seen before it, on average."""
    those = [row for row in rows if row["promised_loss"] is not None]
    if not those:
        return []
    picked, held_back = (
        np.mean([row["test_loss"] - row[key] for row in those]) for key in ("loss_when_picked", "promised_loss")
    )
    return [
        f"On average the test's loss was {picked:+.2f} points from that of the texts that a winner was picked by, and "
        f"{held_back:+.2f} from that of the held-back texts."
    ]


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_choice(parser, "--sets", SETS)
    parser.add_argument("--draws", type=int, default=4, help="for each set")
    parser.add_argument("--hours", type=float, default=0.25, help="of each search")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("runs/promise"))
    parser.add_argument("--results", type=Path, default=RESULTS / "promise.jsonl")
    given = parser.parse_args(arguments)
    need_folders(parser, (given.data / name for name in given.sets))
    wanted = [
        {"set": name, "draw": draw, "hours": given.hours} for draw, name in product(range(given.draws), given.sets)
    ]
    whole = each_once(given.results, wanted, lambda asked: search(asked, given))
    print(table(read_last(given.results, ("set", "draw", "hours"))), end="")
    return int(not whole)


if __name__ == "__main__":
    sys.exit(main())
