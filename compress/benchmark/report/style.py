"""How all charts look: SVG that takes its colours from the page, so that it follows dark mode and print."""

import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

# Set by the page's style sheet.
INK, QUIET, ACCENT, TRACK = "var(--ink)", "var(--quiet)", "var(--accent)", "var(--track)"
_FONT = "Helvetica Neue, Helvetica, Arial, sans-serif"


def inline(rows: Sequence[Mapping[str, Any]]) -> alt.InlineData:
    """Rows as a chart's data, kept inside it."""
    return alt.InlineData(values=[dict(row) for row in rows])


def as_svg(chart: alt.LayerChart | alt.FacetChart | alt.VConcatChart) -> str:
    """Render to SVG that scales with its place and whose ids clash with no other chart's."""
    import vl_convert

    axis = {"labelColor": QUIET, "titleColor": QUIET, "domainColor": TRACK, "tickColor": TRACK, "gridColor": TRACK}
    fonts = {"labelFont": _FONT, "titleFont": _FONT, "labelFontSize": 11, "titleFontSize": 11, "titleFontWeight": 400}
    spec = (
        chart.configure(background="transparent", padding=2, aria=False)
        .configure_view(stroke=None)
        .configure_axis(**axis, **fonts, titlePadding=8)
        .configure_text(font=_FONT, fontSize=12, baseline="middle")
        .to_dict()
    )
    svg: str = vl_convert.vegalite_to_svg(spec)
    svg = re.sub(r'(<svg[^>]*?) width="[\d.]+" height="[\d.]+"', r"\1", svg, count=1)
    return _own_ids(svg)


def _own_ids(svg: str) -> str:
    """Ids that depend on the chart alone; the renderer counts them up over a process, and a page holds many charts."""
    names = list(dict.fromkeys(re.findall(r'\bid="([^"]+)"', svg)))
    places = re.compile("|".join(rf'(?<=\bid="){name}(?=")|(?<=url\(#){name}(?=\))' for name in map(re.escape, names)))
    chart = zlib.crc32(places.sub("", svg).encode())
    return places.sub(lambda found: f"c{chart:x}-{names.index(found.group())}", svg) if names else svg
