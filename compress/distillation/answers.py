"""Answers made elsewhere, by an API or a language model, from which a student learns instead of a teacher's logits."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from compress.data import Dataset
from compress.data.files import read_table
from compress.data.labels import label_name, read_labels
from compress.data.tables import Table, read_texts, text_columns, usual_label_columns
from compress.errors import CompressError
from compress.formatting import shown, some
from compress.paths import local_path
from compress.progress import say
from compress.runtime.encoding import Text
from compress.task import is_multi_label

Probabilities = npt.NDArray[np.float64]

_COLUMNS = ("answer", "answers")  # tried before the usual names of a label's column
_SUM_TOLERANCE = 0.02  # for probabilities that were rounded to two digits


@dataclass(frozen=True)
class Answers:
    """The answer to each text.

    Attributes:
        by_text: the probability of each label, float64 ``[labels]``, in the order of the data's labels.
        are_labels: the answers are labels, so each probability is 0 or 1.
    """

    by_text: Mapping[Text, Probabilities]
    are_labels: bool

    def probabilities(self, texts: Iterable[Text]) -> Probabilities:
        """The answers to ``texts``, float64 ``[texts, labels]``; NaN for a text without an answer."""
        none = np.full_like(next(iter(self.by_text.values())), np.nan)
        return np.stack([self.by_text.get(text, none) for text in texts])


def read_answers(path: str, data: Dataset, labels: Sequence[str], columns: Sequence[str] = ()) -> Answers:
    """Read the answers in a file of any format that data may have, with a text and its answer in each row.

    The answer is a column for each label, with its probability; or else a column called ``answer`` or like a label's
    column, with an object of probabilities by label, a label or, for multi-label tasks, a list of labels. The text is
    in ``columns`` where the file has them, else in columns with a usual name. Rows with an empty answer are skipped.

    Raises:
        CompressError: the file cannot be read; an answer is neither one of ``labels`` nor a probability; a text has two
            answers that differ; or no text of the train split has an answer.
    """
    table = read_table(local_path(path))
    named = columns if set(columns) <= table.columns.keys() else ()
    text_names = text_columns(table, named, "--unlabeled-text")
    texts, cells = read_texts(table, text_names), _cells(table, text_names, labels)
    if data.pairs != isinstance(texts[0], tuple):
        raise CompressError(f"{path}: has {'single texts' if data.pairs else 'pairs of texts'}, unlike the data")
    rows = [row for row, cell in enumerate(cells) if not _is_empty(cell)]
    if not rows:
        raise CompressError(f"{path}: no row has an answer; give each text a label, a list of labels or probabilities")
    places, multi_label = [table.place(row) for row in rows], is_multi_label(data.task)
    filled = [_parsed(cells[row]) for row in rows]
    are_labels = not isinstance(filled[0], dict)
    if are_labels:
        probabilities = _from_labels(filled, places, labels, multi_label)
    else:
        probabilities = np.stack([_checked(*row, labels, multi_label) for row in zip(filled, places, strict=True)])
    answers = Answers(_by_text([texts[row] for row in rows], probabilities, places, labels), are_labels)
    _say_coverage(path, answers, data, len(cells) - len(rows))
    return answers


def _cells(table: Table, text_names: Sequence[str], labels: Sequence[str]) -> list[Any]:
    """The answer in each row; columns of probabilities become an object by label. A label may be called like a text."""
    present = [label for label in labels if label in table.columns and label not in text_names]
    if len(present) == len(labels):
        rows = zip(*(table.columns[label] for label in labels), strict=True)
        return [None if all(map(_is_empty, row)) else dict(zip(labels, row, strict=True)) for row in rows]
    spelling = {name.strip().lower(): name for name in table.columns}
    named = [spelling[name] for name in _COLUMNS if name in spelling]
    usual = list(usual_label_columns(table))
    if {*present} - {*usual} and not named:
        lacking = [label for label in labels if label not in present]
        raise CompressError(f"{table.name}: has no column for {some(lacking)}; give each label a column, or none")
    named = named or usual
    if not named:
        raise CompressError(
            f"{table.name}: no column is called answer; rename that of the answers: {some(list(table.columns))}"
        )
    return [
        # Null entries are left out: Parquet gives every object all keys.
        {name: value for name, value in cell.items() if value is not None} if isinstance(cell, dict) else cell
        for cell in table.columns[named[0]]
    ]


def _is_empty(cell: Any) -> bool:
    return cell is None or (isinstance(cell, str) and not cell.strip())


def _parsed(cell: Any) -> Any:
    """The object that a text in CSV stands for; any other cell as it is."""
    if isinstance(cell, str) and cell.strip().startswith("{"):
        try:
            return json.loads(cell)
        except (ValueError, RecursionError):
            return cell
    return cell


def _from_labels(cells: list[Any], places: list[str], labels: Sequence[str], multi_label: bool) -> Probabilities:
    for cell, place in zip(cells, places, strict=True):
        if isinstance(cell, dict):
            raise CompressError(f"{place}: has probabilities, where the first answer is a label; give one kind")
    names = read_labels(cells, places, multi_label)
    unknown = [(name, place) for row, place in zip(names, places, strict=True) for name in row if name not in labels]
    if unknown:
        _, first = unknown[0]
        raise _unknown_labels(list(dict(unknown)), first, labels)
    probabilities = np.zeros((len(names), len(labels)))
    for row, answered in enumerate(names):
        probabilities[row, [labels.index(name) for name in answered]] = 1
    return probabilities


def _checked(cell: Any, place: str, labels: Sequence[str], multi_label: bool) -> Probabilities:
    """One row's probabilities, ``[labels]``; a label that the object lacks has 0."""
    if not isinstance(cell, dict):
        raise CompressError(f"{place}: {shown(cell)}, where the first answer has probabilities; give one kind")
    cell = {label_name(name, place): value for name, value in cell.items()}
    if unknown := [name for name in cell if name not in labels]:
        raise _unknown_labels(unknown, place, labels)
    row = np.array([_probability(cell.get(label, 0), place, label) for label in labels])
    if not multi_label and abs(row.sum() - 1) > _SUM_TOLERANCE:
        raise CompressError(f"{place}: the probabilities sum to {row.sum():.4g}; those of one text sum to 1")
    return row


def _probability(value: Any, place: str, label: str) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):  # an integer of 400 digits
        number = math.nan
    if not 0 <= number <= 1:
        raise CompressError(f'{place}: the probability of "{label}" is {shown(value)}; give a number from 0 to 1')
    return number


def _unknown_labels(unknown: list[str], place: str, labels: Sequence[str]) -> CompressError:
    quoted = [f'"{name}"' for name in unknown]
    return CompressError(
        f"{place}: {some(quoted)} {'is' if len(unknown) == 1 else 'are'} not among the model's labels, which are "
        f"{some(labels)}; give answers with these labels, or leave the answer empty"
    )


def _by_text(
    texts: list[Text], probabilities: Probabilities, places: list[str], labels: Sequence[str]
) -> dict[Text, Probabilities]:
    """The answer to each text; a text may come twice with the same answer."""
    first: dict[Text, int] = {}
    firsts = [first.setdefault(text, row) for row, text in enumerate(texts)]
    differing = np.flatnonzero((probabilities[firsts] != probabilities).any(axis=1))
    if len(differing):
        row = differing[0]
        earlier = first[texts[row]]
        raise CompressError(
            f"{places[row]}: {shown(texts[row])} has the answer {_in_words(probabilities[row], labels)}, but "
            f"{_in_words(probabilities[earlier], labels)} in {places[earlier]} ({len(differing):,} such rows); "
            "keep one of them"
        )
    return {text: probabilities[row] for text, row in first.items()}


def _in_words(answer: Probabilities, labels: Sequence[str]) -> str:
    likely = [index for index in np.argsort(-answer, kind="stable")[:3] if answer[index] > 0]
    return " ".join(f"{labels[index]} {answer[index]:.4g}" for index in likely) or "none"


def _say_coverage(path: str, answers: Answers, data: Dataset, empty: int) -> None:
    texts = data.train.texts
    covered = sum(text in answers.by_text for text in texts)
    if not covered:
        raise CompressError(
            f"{path}: has no answer for any of the {len(texts):,} train texts, such as {shown(texts[0])}; "
            "give the texts as they are in the data"
        )
    kind = "labels, learned at temperature 1" if answers.are_labels else "probabilities"
    rest = f"; the other {len(texts) - covered:,} learn from the data's labels alone" if covered < len(texts) else ""
    left = len(answers.by_text.keys() - set(texts))
    parts = [
        f"teacher answers: {path}: {kind}, for {covered:,} of {len(texts):,} train texts{rest}",
        *([f"{empty:,} rows have no answer"] if empty else []),
        *([f"{left:,} answers are to other texts, which are used where --unlabeled has them"] if left else []),
    ]
    say("; ".join(parts))
