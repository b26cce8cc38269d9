"""A table of a data file, and its columns with texts and labels: those the user names, or else the usual names."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from compress.errors import CompressError
from compress.formatting import shown
from compress.runtime.encoding import Text

# The first entry whose columns are all there wins, whatever its case; a pair wins over a single text.
_TEXTS = (
    ("text", "text_pair"),
    ("sentence1", "sentence2"),
    ("text1", "text2"),
    ("question1", "question2"),
    ("premise", "hypothesis"),
    ("question", "sentence"),
    ("#1 string", "#2 string"),
    *(("text",), ("sentence",), ("review",), ("utterance",), ("query",), ("question",)),
    *(("comment",), ("message",), ("tweet",), ("content",)),
)
_LABELS = ("label", "labels", "category", "intent", "class", "sentiment", "emotion", "topic", "target", "quality")
WITHHELD = frozenset({"-1", "-1.0"})  # stands for a withheld label, unless it is a class of the train rows
_TRUTH = {"true": True, "false": False, "0": False, "1": True, "0.0": False, "1.0": True}
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Table:
    """Columns of equal length, with the place of each row for messages."""

    name: str  # the file, or the data set and split, as the user knows it
    columns: dict[str, list[Any]]
    numbers: Sequence[int]  # the line or row number of each row
    unit: str = "line"  # "row" for files that are not text

    def place(self, row: int) -> str:
        """Where ``row`` stands: ``train.csv, line 7``."""
        return f"{self.name}, {self.unit} {self.numbers[row]}"


@dataclass(frozen=True)
class Rows:
    """The texts and label cells of one split; how a cell is read depends on the task."""

    texts: list[Text]
    cells: list[Any]  # the values of the label column, or for each row the label columns that hold 1
    places: list[str]  # where each row stands
    names: list[str]  # the tables' names
    text: tuple[str, ...]  # the text columns of the first train table
    label: tuple[str, ...]  # and its label columns


def read_rows(tables: Sequence[Table], text: Sequence[str], label: Sequence[str], first: Table) -> Rows:
    """The text and label columns of a split's tables, one table after the other.

    Columns that nobody named are those of ``first``, the first train table, wherever a table has them: of two columns
    with usual names, test texts are read from the one that a model was trained on.
    """
    texts, labels = text_columns(first, text), label_columns(first, label)
    rows = Rows([], [], [], [table.name for table in tables], texts, labels)
    for table in tables:
        chosen = text_columns(table, columns_in(table, texts) or text)
        rows.texts.extend(read_texts(table, chosen))
        columns = label_columns(table, columns_in(table, labels) or label)
        both = set(columns) & set(chosen)
        if both:
            raise CompressError(f'{table.name}: column "{both.pop()}" cannot be text and label; name two columns')
        rows.cells.extend(table.columns[columns[0]] if len(columns) == 1 else _indicated_labels(table, columns))
        rows.places.extend(map(table.place, range(len(table.numbers))))
    return rows


def read_texts(table: Table, text: Sequence[str]) -> list[Text]:
    """The text of each row: a string or a pair of strings."""
    columns = text_columns(table, text)
    for column in columns:
        for row, value in enumerate(table.columns[column]):
            if not isinstance(value, str) or _SURROGATE.search(value):
                check_text(value, table.place(row), f' in column "{column}"')
    texts = [table.columns[column] for column in columns]
    return list(texts[0]) if len(texts) == 1 else list(zip(*texts, strict=True))


def check_text(value: object, place: str, where: str = "") -> None:
    """Refuse a ``value`` that is no text; errors name its ``place``, and ``where`` in it, such as a column."""
    if not isinstance(value, str):
        what = "the text is missing" if value is None else f"the text is {shown(value)}, which is not a string"
        raise CompressError(f"{place}: {what}{where}; mend or remove the row")
    if _SURROGATE.search(value):  # JSON can spell half a character, which no tokenizer accepts
        raise CompressError(f"{place}: half of a surrogate pair is not a character; mend or remove the row")


def _indicated_labels(table: Table, columns: Sequence[str]) -> list[list[str]]:
    """The names of the columns that hold 1 (or true) in each row."""
    labels: list[list[str]] = [[] for _ in table.numbers]
    for column in columns:
        for row, cell in enumerate(table.columns[column]):
            truth = _TRUTH.get(str(cell).strip().lower())
            if truth is None:
                raise CompressError(
                    f'{table.place(row)}: column "{column}" holds {shown(cell)}; '
                    f"with several --label columns, each holds 0 or 1"
                )
            if truth:
                labels[row].append(column)
    return labels


def text_columns(table: Table, named: Sequence[str], flag: str = "--text") -> tuple[str, ...]:
    """The one column with the text, or the two of pairs; ``flag`` is the setting that names them."""
    if named:
        return _existing(table, named, flag)
    there = _by_usual_spelling(table)
    for names in _TEXTS:
        if all(name in there for name in names):
            return tuple(there[name] for name in names)
    raise _not_recognised(table, "text", f"{flag} COLUMN (twice for a pair of texts)")


def columns_to_read(
    file: str, names: Sequence[str], named: Sequence[str], *, pairs: bool, flag: str = "--text"
) -> tuple[str, ...]:
    """As :func:`text_columns`, for a file read row by row; refuses more or fewer columns than the model reads."""
    columns = text_columns(Table(file, {name: [] for name in names}, []), named, flag)
    if len(columns) != 1 + pairs:
        wanted = "pairs of texts, two columns" if pairs else "single texts, one column"
        raise CompressError(
            f"{file}: {' and '.join(columns)} would be read, but this model reads {wanted}; name them with "
            f"{flag} COLUMN{' twice' if pairs else ''}"
        )
    return columns


def label_columns(table: Table, named: Sequence[str]) -> tuple[str, ...]:
    """The column that holds the label or the list of labels, or several named ones that hold 0 and 1."""
    if named:
        return _existing(table, named, "--label")
    usual = usual_label_columns(table)
    if usual:
        return usual[:1]
    indicators = [name for name, cells in table.columns.items() if {str(cell) for cell in cells} == {"0", "1"}]
    if len(indicators) > 1:
        flags = " ".join(f"--label {name}" for name in indicators[:5])
        raise CompressError(
            f"{table.name}: no column has a usual name for the label; {len(indicators)} columns hold 0 and 1: "
            f"where each is a label, name them all: {flags}{' ...' if len(indicators) > 5 else ''}"
        )
    raise _not_recognised(table, "label", "--label COLUMN")


def usual_label_columns(table: Table) -> tuple[str, ...]:
    """The columns that have a usual name for the label, the first of which is read."""
    there = _by_usual_spelling(table)
    return tuple(there[name] for name in _LABELS if name in there)


def columns_in(table: Table, names: Sequence[str]) -> Sequence[str]:
    """``names`` where the table has all of these columns, else none."""
    return names if all(name in table.columns for name in names) else ()


def label_cells(table: Table, named: Sequence[str], first: Table) -> set[str]:
    """The different values in the label columns, as text; columns that nobody named are chosen as in :func:`read_rows`.

    Empty where there is no such column, or where all labels are missing.
    """
    columns: Sequence[str] = [name for name in named if name in table.columns]
    if not named:
        columns = columns_in(table, usual_label_columns(first)[:1]) or usual_label_columns(table)[:1]
    values = {str(cell).strip() for name in columns for cell in table.columns[name] if cell is not None}
    return values - {""}


def _by_usual_spelling(table: Table) -> dict[str, str]:
    return {name.strip().lower(): name for name in reversed(table.columns)}


def _existing(table: Table, names: Sequence[str], flag: str) -> tuple[str, ...]:
    for name in names:
        if name not in table.columns:
            raise CompressError(f'{table.name}: no column "{name}"; give {flag} one of {_names(table)}')
        if names.count(name) > 1:
            raise CompressError(f'{flag}: column "{name}" is named twice; name each column once')
    return tuple(names)


def _not_recognised(table: Table, what: str, flag: str) -> CompressError:
    return CompressError(
        f"{table.name}: no column has a usual name for the {what}; name it with {flag}: {_names(table)}"
    )


def _names(table: Table) -> str:
    """The names of all columns; a file without a header has whole texts for names, so they are cut."""
    return ", ".join(f'"{name if len(name) <= 40 else name[:39] + "…"}"' for name in table.columns)


def refuse_duplicates(name: str, header: Sequence[str]) -> None:
    """Refuse a table in which two columns have one name."""
    twice = [column for column, count in Counter(header).items() if count > 1]
    if twice:
        raise CompressError(f'{name}: column "{twice[0]}" appears twice; give each column a name of its own')
