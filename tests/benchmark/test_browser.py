"""The report in a real browser: complete without a network, readable in both schemes, on a phone and on paper."""

import base64
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import compress
from compress.benchmark.report.page import write_report
from tests.benchmark.test_report import MODELS, document
from tests.examples.chromium import CHROMIUM, Page, chromium

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")]

SMALLEST_CONTRAST = 4.5  # WCAG 2.2, AA, for text of any size
A4_WIDTH_PX = 718  # less Chromium's margins of 1 cm
# Every piece of text with its colour, and the first ground behind it that is not transparent.
POOR_CONTRAST = """
(() => {
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => parts(colour).slice(0, 3)
    .map((value) => value / 255).map((value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
    .reduce((sum, value, at) => sum + value * [0.2126, 0.7152, 0.0722][at], 0);
  const ground = (element) => {
    for (; element; element = element.parentElement) {
      const colour = getComputedStyle(element).backgroundColor;
      if ((parts(colour)[3] ?? 1) > 0) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
    if (!own || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const ink = light(element instanceof SVGElement ? style.fill : style.color), behind = light(ground(element));
    const contrast = (Math.max(ink, behind) + 0.05) / (Math.min(ink, behind) + 0.05);
    if (contrast < LEAST) found.push(`${element.textContent.trim().slice(0, 40)}: ${contrast.toFixed(2)}`);
  }
  return found;
})()
""".replace("LEAST", str(SMALLEST_CONTRAST))
# What sticks out of the page, parts of what may be scrolled sideways aside.
TOO_WIDE = """
[...document.querySelectorAll("body *")]
  .filter((element) => element.checkVisibility() && !element.parentElement.closest(".scroll"))
  .filter((element) => element.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5)
  .map((element) => element.outerHTML.slice(0, 100))
"""
CUT_OFF = """
[...document.querySelectorAll(".scroll")].filter((element) => element.scrollWidth > element.clientWidth + 1)
  .map((element) => `${element.innerText.slice(0, 60)}: ${element.scrollWidth} > ${element.clientWidth}`)
"""


@pytest.fixture(scope="module")
def measured(tiny_onnx: Path, tiny_int8: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a real measurement, of everything that costs little time."""
    out = tmp_path_factory.mktemp("report") / "measured"
    settings: dict[str, Any] = {"seconds": 0.1, "threads": 1, "batch": [1, 4], "length": [8], "price_per_hour": 0.1}
    compress.bench([tiny_onnx, tiny_int8], tiny_data, out, **settings)
    return out / "report.html"


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of many models with long names."""
    out = tmp_path_factory.mktemp("report")
    write_report(document(len(MODELS)), out)
    return out / "report.html"


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("profile")) as page:
        for domain in ("Page", "Network", "Runtime", "Log"):
            page.call(f"{domain}.enable")
        yield page


REPORTS = [pytest.param("measured", marks=pytest.mark.slow), "crowded"]


@pytest.fixture(params=REPORTS)
def report(request: pytest.FixtureRequest, tab: Page) -> Iterator[Page]:
    """The report, open, with all that can be unfolded unfolded."""
    show(tab, request.getfixturevalue(request.param))
    tab.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    yield tab
    tab.call("Emulation.clearDeviceMetricsOverride")
    tab.call("Emulation.setEmulatedMedia", media="", features=[])


def show(page: Page, file: Path) -> None:
    page.call("Page.navigate", url=file.as_uri())
    page.wait_for(f"location.href === '{file.as_uri()}' && document.readyState === 'complete'")


@pytest.mark.parametrize("name", REPORTS)
def test_nothing_is_fetched_and_nothing_fails(
    name: str, tab: Page, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    file: Path = request.getfixturevalue(name)
    events: list[dict[str, Any]] = []
    receive = tab._message

    def recorded() -> bytes:
        message = receive()
        events.append(json.loads(message))
        return message

    monkeypatch.setattr(tab, "_message", recorded)
    show(tab, file)
    requests = [
        each["params"]["request"]["url"] for each in events if each.get("method") == "Network.requestWillBeSent"
    ]
    assert requests == [file.as_uri()]
    errors = {"Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded", "Network.loadingFailed"}
    assert not [each for each in events if each.get("method") in errors]
    assert tab.evaluate("document.scripts.length") == 0
    assert tab.evaluate("[...document.querySelectorAll('svg')].filter((one) => one.checkVisibility()).length") >= 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_stands_out_from_its_ground(report: Page, scheme: str) -> None:
    report.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    red, green, blue = re.findall(r"\d+", report.evaluate("getComputedStyle(document.body).backgroundColor"))[:3]
    assert (int(red) + int(green) + int(blue) < 384) == (scheme == "dark")
    assert report.evaluate(POOR_CONTRAST) == []


@pytest.mark.parametrize("width", [320, 390, 768])
def test_the_page_fits_a_phone_and_a_tablet(report: Page, width: int) -> None:
    report.call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=2, mobile=True)
    assert report.evaluate("innerWidth") == width
    assert report.evaluate("document.documentElement.scrollWidth") <= width
    assert report.evaluate(TOO_WIDE) == []
    shown = "wide" if width > 640 else "narrow"
    assert report.evaluate(f"[...document.querySelectorAll('.{shown}')].every((one) => one.checkVisibility())")


def test_paper_shows_everything_in_black_on_white_and_cuts_nothing_off(report: Page) -> None:
    report.call("Emulation.setDeviceMetricsOverride", width=A4_WIDTH_PX, height=1000, deviceScaleFactor=1, mobile=False)
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    report.call("Emulation.setEmulatedMedia", media="print", features=dark)
    assert report.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert report.evaluate(POOR_CONTRAST) == []
    assert report.evaluate(CUT_OFF) == []
    pdf = base64.b64decode(report.call("Page.printToPDF", printBackground=False)["data"])
    pages = len(re.findall(rb"/Type\s*/Page\b", pdf))
    drawn = [text for text in map(unpacked, re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL)) if text]
    with_text = sum(bool(re.search(rb"\bT[jJ]\b", content)) for content in drawn)
    assert 2 <= pages <= with_text


def unpacked(stream: bytes) -> bytes:
    """What a stream of a PDF says; nothing where it is packed in another way, as pictures are."""
    try:
        return zlib.decompress(stream)
    except zlib.error:
        return b""
