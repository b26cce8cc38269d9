"""Which columns hold the text and the label: the ones named, or else the usual names."""

from collections.abc import Iterable, Sequence

from compress.data.tables import Table
from compress.errors import CompressError

# The first entry whose columns are all there wins, whatever its case; a pair wins over a single text.
TEXT_PAIRS = (
    ("text", "text_pair"),
    ("sentence1", "sentence2"),
    ("text1", "text2"),
    ("question1", "question2"),
    ("premise", "hypothesis"),
    ("question", "sentence"),
    ("#1 string", "#2 string"),
)
TEXTS = ("text", "sentence", "review", "utterance", "query", "question", "comment", "message", "tweet", "content")
LABELS = ("label", "labels", "category", "intent", "class", "sentiment", "emotion", "topic", "target", "quality")


def text_columns(table: Table, named: Sequence[str], flag: str = "--text") -> tuple[str, ...]:
    """The one or two columns that hold the text; ``flag`` names them.

    Raises:
        CompressError: a named column is missing, or no usual name is there.
    """
    if named:
        return tuple(_existing(table, name, flag) for name in named)
    found = _first(table, [*TEXT_PAIRS, *((name,) for name in TEXTS)])
    return found or _not_recognised(table, "text", f"{flag} COLUMN (twice for a pair of texts)")


def label_columns(table: Table, named: Sequence[str]) -> tuple[str, ...]:
    """The column that holds the label or the list of labels, or several named ones that hold 0 and 1.

    Raises:
        CompressError: a named column is missing, or no usual name is there.
    """
    if named:
        return tuple(_existing(table, name, "--label") for name in named)
    return _usual_labels(table)[:1] or _no_label(table)


def has_label_column(table: Table) -> bool:
    """Whether a column has a usual name for the label."""
    return bool(_usual_labels(table))


def is_labelled(table: Table, named: Sequence[str]) -> bool:
    """Whether there is a label column, and in it a label: not all are missing or the -1 of withheld labels."""
    columns = [name for name in named if name in table.columns] if named else _usual_labels(table)[:1]
    return any(cell not in (None, -1, "-1") and str(cell).strip() for name in columns for cell in table.columns[name])


def other_label_columns(table: Table, used: Sequence[str]) -> tuple[str, ...]:
    """Columns that have a usual name for the label too, besides those ``used``."""
    return tuple(name for name in _usual_labels(table) if name not in used)


def _usual_labels(table: Table) -> tuple[str, ...]:
    there = {name.strip().lower(): name for name in reversed(table.columns)}
    return tuple(there[name] for name in LABELS if name in there)


def _no_label(table: Table) -> tuple[str, ...]:
    indicators = [name for name, cells in table.columns.items() if {str(cell) for cell in cells} == {"0", "1"}]
    if len(indicators) > 1:
        flags = " ".join(f"--label {name}" for name in indicators[:5])
        raise CompressError(
            f"{table.name}: no column has a usual name for the label; {len(indicators)} columns hold 0 and 1: "
            f"where each is a label, name them all: {flags}{' ...' if len(indicators) > 5 else ''}"
        )
    return _not_recognised(table, "label", "--label COLUMN")


def _existing(table: Table, name: str, flag: str) -> str:
    if name not in table.columns:
        raise CompressError(f'{table.name}: no column "{name}"; give {flag} one of {_names(table)}')
    return name


def _first(table: Table, candidates: Iterable[tuple[str, ...]]) -> tuple[str, ...] | None:
    there = {name.strip().lower(): name for name in reversed(table.columns)}
    for names in candidates:
        if all(name in there for name in names):
            return tuple(there[name] for name in names)
    return None


def _not_recognised(table: Table, what: str, flag: str) -> tuple[str, ...]:
    raise CompressError(
        f"{table.name}: no column has a usual name for the {what}; name it with {flag}: {_names(table)}"
    )


def _names(table: Table) -> str:
    """The columns there are; a file without a header has whole texts for names, so they are cut."""
    return ", ".join(f'"{name if len(name) <= 40 else name[:39] + "…"}"' for name in table.columns)
