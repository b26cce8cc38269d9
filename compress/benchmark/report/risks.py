"""The chart of risk against coverage: how often a model is wrong when it answers only texts that it is sure of."""

from collections.abc import Iterator, Sequence

from compress.benchmark.report.charts import ACCENT, INK, QUIET, as_svg, layer, number, words
from compress.benchmark.report.speedup import Entry

_HEIGHT_PX = 220


def risk_chart(entries: Sequence[Entry], chosen: str, width: int) -> str | None:
    """Each model's curve of risk against coverage, with a dot where a model that abstains stands.

    The chosen model has the accent colour, the first is pale. None if there are no curves, as for multi-label tasks and
    in documents from before 0.2.
    """
    rows = [row for entry in entries for row in _curve(entry, _colour(entry["name"], chosen, entries[0]["name"]))]
    if not rows:
        return None
    across = {"title": "answered, % of the texts, the surest first", "tickCount": 5, "grid": False}
    x = number("coverage", scale={"domain": [0, 100], "nice": False}, axis=across)
    up = {"title": None, "tickCount": 5, "labelExpr": "datum.label + '%'"}
    y = number("risk", scale={"zero": True}, axis=up)
    dots = [
        {"coverage": 100 * selection["coverage"], "risk": 100 * selection["risk"]}
        | {"colour": _colour(entry["name"], chosen, entries[0]["name"])}
        for entry in entries
        if (selection := (entry["accuracy"] or {}).get("selection")) and selection["risk"] is not None
    ]
    layers = [layer({"type": "line", "strokeWidth": 1.5}, rows, detail=words("name"))]
    if dots:
        layers.append(layer({"type": "circle", "size": 90, "opacity": 1}, dots))
    shared = {"x": x, "y": y, "color": words("colour") | {"scale": None, "legend": None}}
    return as_svg({"layer": layers, "encoding": shared, "width": width, "height": _HEIGHT_PX})


def _curve(entry: Entry, colour: str) -> Iterator[dict[str, object]]:
    for coverage, risk in (entry["accuracy"] or {}).get("risk_coverage") or ():
        yield {"name": entry["name"], "coverage": 100 * coverage, "risk": 100 * risk, "colour": colour}


def _colour(name: str, chosen: str, first: str) -> str:
    return ACCENT if name == chosen else QUIET if name == first else INK
