"""Reads label names from cells: one spelling for each label whatever the format, also from indicators of 0 and 1."""

import json
import math
import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from compress.errors import CompressError
from compress.formatting import shown
from compress.progress import say_before_work

_WHOLE = re.compile(r"([+-]?\d+)(?:\.0*|,00?)", re.ASCII)
# A comma before three digits may stand between thousands: 1,000 is a name.
_FRACTION = re.compile(r"[+-]?\d*(\.\d+|,(?!\d{3}$)\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_BREAKS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")  # line breaks, tabs and other control characters
_INDICATORS = re.compile(r"\[[\s,]*[01]\.?0*(?:[\s,;]+[01]\.?0*)*[\s,]*\]|[01](?:[\s,;]+[01])+")
_DOUBTS_SHOWN = 5


def holds_lists(cells: Sequence[Any]) -> bool:
    """Whether the cells are lists of labels, which in CSV are text in square brackets.

    Where only some are, the majority decides; the others are then refused, each by its line.
    """
    if all(isinstance(cell, list) or (isinstance(cell, str) and _bracketed(cell)) for cell in cells):
        return True
    return 2 * sum(map(_is_list, cells)) > len(cells)


def indicator_width(cells: Sequence[Any], name: str) -> int | None:
    """The number of labels for which each cell has a 0 or 1; None where the cells are not such indicators.

    Cells that all are ``0,0`` or ``1,0`` are not: no row has the second label, so these are 0 and 1 with a decimal
    comma.
    """
    vectors = [_indicators(cell) for cell in cells]
    indicators = [vector for vector in vectors if vector is not None]
    if len(indicators) < len(vectors) or not any(indicators):
        return None
    if all(isinstance(cell, str) and _WHOLE.fullmatch(cell.strip()) for cell in cells):
        return None
    widths = {len(vector) for vector in indicators}
    if widths == {1}:
        raise CompressError(
            f"{name}: each label is a list of one number, 0 or 1; write it without brackets for one label a row, "
            f"or give lists of names for several"
        )
    if len(widths) == 1:
        return widths.pop()
    if any(len(set(vector)) < len(vector) for vector in indicators):
        raise CompressError(
            f"{name}: the labels are rows of 0 and 1 of different lengths ({min(widths)} to {max(widths)}); "
            f"give each row one number for each label, or a list of names"
        )
    return None


def named_indicators(cells: Sequence[Any], places: Sequence[str], width: int) -> list[list[str]]:
    """The label names of rows of ``width`` zeros and ones."""
    named = []
    for cell, place in zip(cells, places, strict=True):
        vector = _indicators(cell)
        if vector is None or len(vector) != width:
            raise CompressError(
                f"{place}: the label is {shown(cell)}, where the train rows have {width} numbers that are 0 or 1; "
                f"give every row as many"
            )
        named.append([indicator_name(index) for index, present in enumerate(vector) if present])
    return named


def indicator_name(index: int) -> str:
    """The name of label number ``index`` where rows of 0 and 1, or a model, do not name their labels."""
    return f"label_{index}"


def read_labels(cells: Sequence[Any], places: Sequence[str], multi_label: bool) -> list[tuple[str, ...]]:
    """The label names of each row: one for a single-label task, sorted and without repeats for a multi-label task.

    Names are strings whatever the format: 1, 1.0, "1" and "1.0" are the label "1", true and "True" are "true", and
    names that are equal in Unicode are one. A line break or tab inside a name becomes a blank, which is reported.
    """
    read = _label_list if multi_label else _single_label
    broken = next((place for cell, place in zip(cells, places, strict=True) if _has_break(cell)), None)
    if broken:
        say_before_work(
            f"{broken}: the label has a line break, tab or control character in it, which is read as a blank"
        )
    return [read(cell, place) for cell, place in zip(cells, places, strict=True)]


def label_doubts(labels: Sequence[str]) -> list[str]:
    """Lines about labels that are probably the same, or probably several in one: five, and how many more."""
    alike = defaultdict(list)
    for label in labels:
        alike[_folded(label)].append(label)
    doubts = [
        f"{' and '.join(map(_visible, group))} differ only by case, blanks or invisible characters; "
        f"they are read as {len(group)} labels: give them one spelling if they mean one"
        for group in alike.values()
        if len(group) > 1
    ]
    for label in labels:
        parts = [part.strip() for part in re.split("[,;|]", label)]
        known = [part for part in parts if part != label and _folded(part) in alike]
        if len(parts) > 1 and known:
            doubts.append(
                f'{_visible(label)} is read as one label, though "{known[0]}" is a label too; '
                f"where a text has several labels, write a list: {json.dumps(parts, ensure_ascii=False)}"
            )
    more = [f"and {len(doubts) - _DOUBTS_SHOWN} more such labels"] if len(doubts) > _DOUBTS_SHOWN else []
    return doubts[:_DOUBTS_SHOWN] + more


def _indicators(cell: Any) -> list[int] | None:
    """The zeros and ones of a list, or of a text such as ``[0, 1]`` or ``0 1``; None for anything else."""
    if isinstance(cell, str):
        matches = _INDICATORS.fullmatch(cell.strip())
        return [int(float(number)) for number in re.findall(r"[01.]+", cell)] if matches else None
    if isinstance(cell, list) and all(isinstance(value, int | float) and value in (0, 1) for value in cell):
        return [int(value) for value in cell]
    return None


def _single_label(cell: Any, place: str) -> tuple[str, ...]:
    if _is_list(cell):
        raise CompressError(
            f"{place}: a list of labels where other rows have one label; give every row a list, or none"
        )
    return (label_name(cell, place),)


def _label_list(cell: Any, place: str) -> tuple[str, ...]:
    if isinstance(cell, str) and _bracketed(cell):
        try:
            cell = json.loads(cell)
        except (ValueError, RecursionError):
            raise CompressError(
                f'{place}: {cell:.60} is not a JSON list of labels; write it as ["joy", "anger"]'
            ) from None
    if not isinstance(cell, list):
        raise CompressError(
            f"{place}: {shown(cell)} where other rows have a list of labels; give every row a list, or none"
        )
    return tuple(sorted({label_name(label, place) for label in cell}))


def label_name(value: Any, place: str) -> str:
    """The label name that ``value`` stands for; errors name its ``place``."""
    if isinstance(value, bool | int):
        return str(value).lower()
    if isinstance(value, float | Decimal) and math.isfinite(value) and value == int(value):
        return str(int(value))
    name = spelled(value) if isinstance(value, str) else None
    if value is None or name == "":
        raise CompressError(f"{place}: the label is missing; mend or remove the row")
    if name is None or (_FRACTION.fullmatch(name) and not _WHOLE.fullmatch(name)):
        raise CompressError(
            f"{place}: the label is {shown(value)}; a label is a name or a whole number: put scores into classes first"
            ", several labels of a text into a list"
        )
    if any("\ud800" <= character <= "\udfff" for character in name):
        raise CompressError(f"{place}: half of a surrogate pair is not a character; mend or remove the row")
    whole = _WHOLE.fullmatch(name)
    if whole:
        return str(int(whole[1])) if len(whole[1]) < 20 else whole[1]
    return name


def spelled(name: str) -> str:
    """A label's one spelling: composed (NFC), on one line, without blanks around it; true and false in lower case.

    Otherwise a blank behind a name in some rows would make another label of it.
    """
    label = unicodedata.normalize("NFC", _BREAKS.sub(" ", name)).strip()
    return label.lower() if label.lower() in {"true", "false"} else label


def _has_break(cell: Any) -> bool:
    if isinstance(cell, list):
        return any(map(_has_break, cell))
    return isinstance(cell, str) and _BREAKS.search(cell.strip()) is not None


def _bracketed(cell: str) -> bool:
    return cell.strip().startswith("[") and cell.strip().endswith("]")


def _is_list(cell: Any) -> bool:
    """Whether a cell is a list, and not a name in brackets, such as ``[other]`` among plain names."""
    if not isinstance(cell, str) or not _bracketed(cell):
        return isinstance(cell, list)
    return re.match(r"\[\s*(['\"\d\]])", cell.strip()) is not None


def _folded(label: str) -> str:
    folded = unicodedata.normalize("NFKC", label).casefold()
    return "".join(mark for mark in folded if not mark.isspace() and unicodedata.category(mark) != "Cf")


def _visible(label: str) -> str:
    """A name in quotes, with codes for the blanks and characters that cannot be seen."""
    escaped = "".join(
        mark if mark == " " or unicodedata.category(mark) not in {"Cf", "Zs", "Cc"} else f"\\u{ord(mark):04x}"
        for mark in label
    )
    return f'"{escaped}"'
