"""The chart of risk against coverage: how often a model is wrong when it answers only what it is sure of."""

from collections.abc import Iterator, Sequence

import altair as alt

from compress.benchmark.report.charts import ACCENT, INK, QUIET, as_svg, inline
from compress.benchmark.report.speedup import Entry

_HEIGHT_PX = 220


def risk_chart(entries: Sequence[Entry], chosen: str, width: int) -> str | None:
    """How often each model is wrong when it answers only the texts of which it is surest; a dot where it abstains.

    The chosen model has the accent, the first is pale. None where there are no curves: documents of before 0.2 and
    multi-label tasks have none.
    """
    rows = [row for entry in entries for row in _curve(entry, _colour(entry["name"], chosen, entries[0]["name"]))]
    if not rows:
        return None
    x = alt.X("coverage:Q", scale=alt.Scale(domain=[0, 100], nice=False)).axis(
        title="answered, % of the texts, the surest first", tickCount=5, grid=False
    )
    y = alt.Y("risk:Q", scale=alt.Scale(zero=True)).axis(title=None, tickCount=5, labelExpr="datum.label + '%'")
    colour = alt.Color("colour:N", scale=None, legend=None)
    base = alt.Chart(inline(rows)).encode(x=x, y=y, color=colour, detail=alt.Detail("name:N"))
    dots = [
        {"coverage": 100 * found["coverage"], "risk": 100 * found["risk"]}
        | {"colour": _colour(entry["name"], chosen, entries[0]["name"])}
        for entry in entries
        if (found := (entry["accuracy"] or {}).get("selection")) and found["risk"] is not None
    ]
    layers = [base.mark_line(strokeWidth=1.5)]
    if dots:
        layers.append(alt.Chart(inline(dots)).mark_circle(size=90, opacity=1).encode(x=x, y=y, color=colour))
    return as_svg(alt.layer(*layers).properties(width=width, height=_HEIGHT_PX))


def _curve(entry: Entry, colour: str) -> Iterator[dict[str, object]]:
    for coverage, risk in (entry["accuracy"] or {}).get("risk_coverage") or ():
        yield {"name": entry["name"], "coverage": 100 * coverage, "risk": 100 * risk, "colour": colour}


def _colour(name: str, chosen: str, first: str) -> str:
    return ACCENT if name == chosen else QUIET if name == first else INK
