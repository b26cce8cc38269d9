"""The result of a check as text for a terminal, and as Markdown for a comment on a pull request."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from compress.benchmark.report.speedup import answer_ms, average_of, of_answers, speedup_words
from compress.formatting import (
    MINUS,
    capital,
    compared,
    megabytes,
    metric_name,
    milliseconds,
    p_value,
    percent,
    percents,
    points,
    points_range,
)

_MOST_LABELS, _MOST_TEXTS = 10, 10
# Cells hold texts of the data, which Markdown must read as plain words. GitHub notifies the person behind an @ and
# links a # with a number, even where they are entities; a zero-width space prevents both.
_ESCAPES = str.maketrans(
    {mark: f"\\{mark}" for mark in "\\|`*[_~$"} | {"&": "&amp;", "<": "&lt;"} | {mark: f"{mark}\u200b" for mark in "@#"}
)
_FLIP_HEADS = ("Label", "Texts", "Right before, wrong now", "Wrong before, right now")

Row = tuple[str, ...]


def as_text(result: Mapping[str, Any]) -> str:
    """The verdict, each limit, the two models side by side, and the labels with most negative flips."""
    sections = [
        [_verdict(result)],
        [f"{'ok  ' if each['passed'] else 'FAIL'}  {_held(each)}" for each in result["checks"]],
        _aligned(_table(result)),
        [_flips(result)],
        _aligned([_FLIP_HEADS, *_by_label(result)]) if result["flips"]["negative"] else [],
        list(result["warnings"]),
    ]
    return "\n\n".join("\n".join(section) for section in sections if section) + "\n"


def as_markdown(result: Mapping[str, Any]) -> str:
    """The text of :func:`as_text` in Markdown, with some texts that the new model gets wrong, folded up."""
    sections = [
        [f"### {_verdict(result)}"],
        [f"- {'✅' if each['passed'] else '❌'} {_held(each)}" for each in result["checks"]],
        _piped(_table(result)),
        [_flips(result)],
        _piped([_FLIP_HEADS, *_by_label(result)]) if result["flips"]["negative"] else [],
        list(_texts(result)),
        list(result["warnings"]),
    ]
    return "\n\n".join("\n".join(section) for section in sections if section) + "\n"


def _verdict(result: Mapping[str, Any]) -> str:
    new, old = result["new"]["name"], result["old"]["name"]
    may = "may take the place of" if result["passed"] else "must not take the place of"
    return f"{new} {may} {old}, by {result['test_texts']:,} test texts"


def _held(check: Mapping[str, Any]) -> str:
    value, limit = _apart(check)
    if check["name"] == "drop":
        return f"Drop: {value} points, at most {limit}"
    return f"Negative flips: {value}% of the texts, at most {limit}%"


def _apart(check: Mapping[str, Any]) -> tuple[str, str]:
    """Value and limit in percent; the value has one decimal or more, as many as show on which side of the limit it is.

    A difference below nine decimals counted as none in the check.
    """
    limit = f"{100 * check['limit']:g}"
    rounded = [round(100 * check["value"], decimals) + 0.0 for decimals in range(1, 10)]  # + 0.0: -0.0 becomes 0.0
    shown = [f"{value:.{decimals}f}" for decimals, value in enumerate(rounded, 1)]
    apart = (value for value in shown if (float(value) <= float(limit)) == check["passed"])
    return next(apart, shown[-1]).replace("-", MINUS), limit


def _table(result: Mapping[str, Any]) -> list[Row]:
    old, new, change = result["old"], result["new"], result["change"]
    metric = capital(metric_name(new["accuracy"]["metric"]))
    delta = f"{points(change['accuracy_delta'])} points ({points_range(change['ci95'])}), McNemar's p "
    rows: list[Row] = [
        ("", old["name"], new["name"], "Change (95%)"),
        (metric, *(_with_interval(each["accuracy"]) for each in (old, new)), delta + p_value(change["mcnemar_p"])),
        (
            "Calibration error (ECE)",
            *(percent(each["accuracy"]["ece"]) for each in (old, new)),
            f"{points(change['ece_delta'])} points",
        ),
        (
            "Size",
            *(megabytes(each["size_bytes"]) for each in (old, new)),
            compared(change["size_ratio"], "smaller", "larger", "as large"),
        ),
    ]
    if "speedup_answer" in change:
        times = (milliseconds(answer_ms(each)) for each in (old, new))
        name = "Text to answer" + ", mean" * (average_of(new) == "mean")
        rows.insert(3, (name, *times, speedup_words(of_answers(change))))
    return rows


def _with_interval(accuracy: Mapping[str, Any]) -> str:
    return f"{percent(accuracy['value'])} ({percents(accuracy['ci95'])})"


def _flips(result: Mapping[str, Any]) -> str:
    flips = result["flips"]
    texts = "text" if flips["negative"] == 1 else "texts"
    return (
        f"Right before, wrong now: {flips['negative']:,} {texts}, {percent(flips['negative_share'])}"
        f" ({percents(flips['negative_ci95'])}). Wrong before, right now: {flips['positive']:,}."
        f" Same answer: {percent(result['change']['agreement'])}."
    )


def _by_label(result: Mapping[str, Any]) -> list[Row]:
    """Rows for the labels with most negative flips, and the number of other labels with some."""
    worst = sorted(result["flips"]["by_label"], key=lambda row: -int(row["became_wrong"]))
    worst = [row for row in worst if row["became_wrong"]]
    rows: list[Row] = [
        (row["label"], f"{row['n']:,}", f"{row['became_wrong']:,}", f"{row['became_right']:,}")
        for row in worst[:_MOST_LABELS]
    ]
    return [*rows, (f"and {len(worst) - _MOST_LABELS} more", "", "", "")] if len(worst) > _MOST_LABELS else rows


def _texts(result: Mapping[str, Any]) -> Iterator[str]:
    worse = [flip for flip in result["flips"]["texts"] if flip["first"] == flip["right"]][:_MOST_TEXTS]
    if worse:
        yield "<details><summary>Some texts that were right before and are wrong now</summary>\n"
        rows = [(flip["text"], *(", ".join(flip[key]) or "no label" for key in ("right", "now"))) for flip in worse]
        yield from _piped([("Text", "Right", "Now"), *rows])
        yield "\n</details>"


def _aligned(rows: Sequence[Row]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _piped(rows: Sequence[Row]) -> list[str]:
    lines = [f"| {' | '.join(cell.translate(_ESCAPES) for cell in row)} |" for row in rows]
    return [lines[0], f"|{'---|' * len(rows[0])}", *lines[1:]]
