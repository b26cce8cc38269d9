"""The page classifies as one types, in a real browser, as ``compress.load`` does; it fetches nothing from elsewhere."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import compress
from tests.clients.setup import PEERS
from tests.examples.chromium import CHROMIUM, Page, chromium
from tests.tiny import read

SERVE = Path(__file__).parents[2] / "examples" / "browser" / "serve.py"
NODE_MODULES = PEERS / "js" / "node_modules"
TEXT = "a superb film with a moving story"
ROWS = "[...document.querySelectorAll('#scores li')]"
SHOWN = f"Object.fromEntries({ROWS}.map((row) => [row.firstChild.textContent, Number(row.dataset.score)]))"
pytestmark = [
    pytest.mark.clients,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium"),
    pytest.mark.skipif(not NODE_MODULES.exists(), reason="needs transformers.js; 'make clients' installs it"),
]


@contextmanager
def served(model: Path) -> Iterator[str]:
    command = [sys.executable, str(SERVE), str(model), "--node-modules", str(NODE_MODULES), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


@pytest.fixture(scope="module")
def address(tiny_int8: Path) -> Iterator[str]:
    with served(tiny_int8) as address:
        yield address


@pytest.fixture(scope="module")
def page(address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("profile")) as page:
        page.call("Page.navigate", url=address)
        page.wait_for("document.getElementById('status')?.textContent === 'Ready.'")
        page.evaluate("document.getElementById('text').focus()")
        yield page


def typed(page: Page, text: str) -> dict[str, float]:
    """The scores shown after so much more was typed, at once."""
    page.evaluate("document.getElementById('scores').replaceChildren()")
    page.call("Input.insertText", text=text)
    page.wait_for(f"{ROWS}.length > 0")
    found: dict[str, float] = page.evaluate(SHOWN)
    return found


def test_scores_follow_the_text_as_it_is_typed(page: Page, tiny_int8: Path) -> None:
    classifier = compress.load(tiny_int8, threads=1)
    seen = set()
    for start, end in ((0, 13), (13, len(TEXT))):
        found, expected = typed(page, TEXT[start:end]), classifier(TEXT[:end])
        assert found == pytest.approx(expected.scores, abs=1e-3)
        assert next(iter(found)) == expected.label  # the likeliest comes first
        seen.add(found[expected.label])
    assert len(seen) == 2
    page.evaluate("text.select()")
    assert next(iter(typed(page, "a dull mess"))) == "negative"


def test_a_pause_is_waited_for_and_the_last_text_wins(page: Page, tiny_int8: Path) -> None:
    page.evaluate(
        "text.select(); window.changes = 0; new MutationObserver(() => changes++).observe(scores, {childList: true})"
    )
    for letter in TEXT:
        page.call("Input.insertText", text=letter)
    page.wait_for(f"window.changes && {ROWS}.length")
    page.evaluate("new Promise((done) => setTimeout(done, 400))")
    assert page.evaluate("changes") < len(TEXT) / 2
    assert page.evaluate(SHOWN) == pytest.approx(compress.load(tiny_int8, threads=1)(TEXT).scores, abs=1e-3)


def test_no_text_has_no_scores(page: Page) -> None:
    page.evaluate("text.value = '  '; text.dispatchEvent(new Event('input'))")
    page.wait_for(f"{ROWS}.length === 0")
    assert page.evaluate("document.getElementById('status').textContent") == "Ready."


def test_nothing_is_fetched_from_elsewhere(page: Page, address: str) -> None:
    fetched = page.evaluate("performance.getEntriesByType('resource').map((one) => one.name)")
    assert any(name.endswith("model_quantized.onnx") for name in fetched)
    assert any(name.endswith(".wasm") for name in fetched)
    assert all(name.startswith((address, f"blob:{address}")) for name in fetched), fetched


def test_the_page_fits_a_phone(page: Page) -> None:
    page.call("Emulation.setDeviceMetricsOverride", width=320, height=640, deviceScaleFactor=2, mobile=True)
    typed(page, TEXT)
    assert page.evaluate("innerWidth") == 320
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_readable_in_both_schemes(page: Page, scheme: str) -> None:
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    ground, ink = (
        sum(map(int, page.evaluate(f"getComputedStyle(document.body).{name}.match(/\\d+/g).slice(0, 3)")))
        for name in ("backgroundColor", "color")
    )
    assert (ground < ink) == (scheme == "dark")
    assert abs(ground - ink) > 400


def test_a_text_that_is_too_hard_is_not_answered(page: Page, tiny_int8: Path, tmp_path: Path, tiny_data: Path) -> None:
    train = str(tiny_data / "train.jsonl")
    compress.calibrate(tiny_int8, tiny_data, tmp_path / "sure", validation=train, max_error=8, threads=1)
    with compress.load(tmp_path / "sure", threads=1) as classifier, served(tmp_path / "sure") as address:
        page.call("Page.navigate", url=address)
        page.wait_for("document.getElementById('status')?.textContent === 'Ready.'")
        page.evaluate("document.getElementById('text').focus()")
        answers = dict(zip(texts := read(tiny_data).test.texts, classifier(texts), strict=True))
        for text in (TEXT, next(str(text) for text, answer in answers.items() if answer.abstained)):
            page.evaluate("text.select()")
            assert typed(page, text) == pytest.approx(classifier(text).scores, abs=0.02)  # other kernels
            status = page.evaluate("document.getElementById('status').textContent")
            assert status.startswith("Not sure enough") == classifier(text).abstained == (text != TEXT)
            assert page.evaluate("document.querySelectorAll('#scores li.applies').length") == (text == TEXT)
