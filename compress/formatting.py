"""Numbers and names as people read them, with units, signs and decimals."""

from collections.abc import Iterable, Mapping, Sequence
from reprlib import Repr
from typing import Any

MINUS = "\N{MINUS SIGN}"
TIMES = "\N{MULTIPLICATION SIGN}"
_EVEN = 1.05
_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 200


def milliseconds(ms: float) -> str:
    """``3.21 ms``."""
    return f"{bare_ms(ms)} ms"


def bare_ms(ms: float) -> str:
    """``3.21``, for a table's column whose head has the unit."""
    return f"{ms:.2f}" if ms < 10 else f"{ms:.1f}" if ms < 100 else f"{ms:,.0f}"


def megabytes(size_bytes: float) -> str:
    """``23.4 MB``, or kB below one."""
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 1e6 else f"{size_bytes / 1e3:.0f} kB"


def millions(parameters: float) -> str:
    """``22.7 M``, or thousands below 0.1 M."""
    return f"{parameters / 1e6:.1f} M" if parameters >= 1e5 else f"{parameters / 1e3:.0f} k"


def count(number: float) -> str:
    """``1.2 G``: a large number with its prefix."""
    for size, prefix in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= size:
            return f"{number / size:.3g}{prefix}"
    return f"{number:.3g}"


def percent(fraction: float) -> str:
    """``97.3%``."""
    return f"{100 * fraction:.1f}%"


def percents(interval: Sequence[float]) -> str:
    """``96.1 to 98.2%``."""
    low, high = interval
    return f"{100 * low:.1f} to {100 * high:.1f}%"


def points(fraction: float) -> str:
    """A difference of two fractions in points, signed, to one decimal."""
    rounded = round(100 * fraction, 1)
    return f"+{rounded:.1f}" if rounded > 0 else f"{MINUS}{-rounded:.1f}" if rounded < 0 else "0.0"


def points_range(interval: Sequence[float]) -> str:
    """``-1.2 to +0.4``, in points."""
    low, high = interval
    return f"{points(low)} to {points(high)}"


def times(ratio: float) -> str:
    """``8.1x``."""
    return f"{ratio:.1f}{TIMES}" if ratio < 100 else f"{ratio:.0f}{TIMES}"


def compared(ratio: float, better: str, worse: str, even: str) -> str:
    """A ratio in words: ``8.1x faster``, ``8.1x slower``, or ``as fast`` within 5%."""
    if ratio >= _EVEN:
        return f"{times(ratio)} {better}"
    return f"{times(1 / ratio)} {worse}" if ratio <= 1 / _EVEN else even


def rate(per_s: float) -> str:
    """``1,234``, the number of something per second."""
    return f"{per_s:,.0f}" if per_s >= 10 else f"{per_s:.1f}"


def p_value(p: float) -> str:
    """``0.031``, or that it is below 0.001."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def metric_name(metric: str) -> str:
    """A metric's name as people write it."""
    return {"accuracy": "accuracy", "macro_f1": "macro-F1", "f1": "F1"}[metric]


def capital(text: str) -> str:
    """``text`` as a heading begins: ``Macro-F1``, where str.capitalize would make ``Macro-f1``."""
    return text[:1].upper() + text[1:]


def ticked(names: Iterable[str]) -> str:
    """Names as Markdown shows them: ``` `spam`, `ham` ```."""
    return ", ".join(f"`{name}`" for name in names)


def figures(metrics: Mapping[str, Any]) -> str:
    """The metrics of a step that are numbers, by name: ``validation accuracy 0.9531, best step 1,120``."""
    numbers = {name: value for name, value in metrics.items() if isinstance(value, int | float)}
    shown = {name: f"{value:,}" if isinstance(value, int) else f"{value:.4g}" for name, value in numbers.items()}
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in shown.items())


def some(names: Sequence[str], word: str = "and", most: int = 5) -> str:
    """The first names, and how many more there are."""
    more = f" {word} {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def kind(value: object) -> str:
    """What a value is, for an error about it: ``a DataFrame``, or ``None``."""
    name = type(value).__name__
    return "None" if value is None else f"{'an' if name[0] in 'aeio' else 'a'} {name}"


def shown(value: object, most: int = 60) -> str:
    """A value as it looks in Python, cut where it is long: a few lines of YAML can stand for a billion values."""
    text = _SHORT.repr(value)
    return text if len(text) <= most else text[: most - 1] + "…"
