"""Numbers and names as the report writes them: units, signs and decimals in one place."""

from collections.abc import Mapping, Sequence
from typing import Any

MINUS = "\N{MINUS SIGN}"
TIMES = "\N{MULTIPLICATION SIGN}"
_EVEN = 1.05


def milliseconds(ms: float) -> str:
    """``3.21 ms``."""
    return f"{bare_ms(ms)} ms"


def bare_ms(ms: float) -> str:
    """``3.21``, for a column whose head has the unit."""
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
    """``1,234``, something a second."""
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


def split_words(entry: Mapping[str, Any]) -> str:
    """The best split in a sentence, and what it gains over the worst."""
    ranked = sorted(entry["instances"], key=lambda split: -float(split["texts_per_s"]))
    best, worst = ranked[0], ranked[-1]
    sentence = f"{entry['name']} answers most as {split_name(best)}: {rate(best['texts_per_s'])} texts/s"
    if best is worst:
        return f"{sentence}."
    gain = compared(best["texts_per_s"] / worst["texts_per_s"], "as many", "as few", "about as many")
    return f"{sentence}, {gain} as {split_name(worst)}."


def split_name(split: Mapping[str, Any]) -> str:
    """``2 instances of 1 thread``."""
    instances, threads = split["instances"], split["threads"]
    return f"{instances} instance{'s' * (instances != 1)} of {threads} thread{'s' * (threads != 1)}"


def selection_words(entry: Mapping[str, Any], split: str) -> str:
    """How much of the texts of a split a model that abstains answers, and how much of that is wrong, in a sentence."""
    found = entry["accuracy"]["selection"]
    answers = f"{entry['name']} abstains where the highest score is below {found['abstain_below']:.4g}: it answers"
    answers += f" {percent(found['coverage'])} of the {split} texts ({percents(found['coverage_ci95'])})"
    if found["risk"] is None:
        return f"{answers}."
    return f"{answers}, {percent(found['risk'])} of them wrongly ({percents(found['risk_ci95'])})."


def cascade_words(entry: Mapping[str, Any], split: str) -> str:
    """How much a cascade hands on, and its times, of which the mean is what it costs, in a sentence or two."""
    found, real = entry["cascade"], entry["latency"][0]
    handed_on = "texts" if found["handed_on"] is None else f"{percent(found['handed_on'])} of the {split} texts"
    shown = f"{entry['name']} is a cascade: it hands {handed_on} on to its large model."
    if entry["answer_mean_ms"] is None:
        return f"{shown} Its times include its tokenizers: {milliseconds(real['mean_ms'])} on average."
    times = (milliseconds(entry[f"answer_{name}_ms"]) for name in ("mean", "p50", "p95"))
    return shown + " From text to label: {} on average, which it is compared by, p50 {}, p95 {}.".format(*times)
