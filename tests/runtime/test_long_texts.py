"""What is read of a text that is longer than the model takes: its rows are tokens of the whole text."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from compress.errors import CompressError
from compress.folder import Manifest, read_manifest, write_manifest
from compress.runtime.encoding import TextEncoder
from compress.runtime.long_texts import HEAD, LongTexts
from tests.runtime.long_texts import long_texts, make_tokenizer

LENGTH, STRIDE, SPECIALS = 22, 5, 2
WINDOWS, BOTH_ENDS = LongTexts("windows", STRIDE), LongTexts("head-tail")
WORDS = ["the", "film", "was", "good", "and", "a", "bad", "story", "in", "New", "York", "with", "some", "words"]


@pytest.fixture(scope="module", params=["bert", "roberta", "xlm"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return make_tokenizer(str(request.param), [" ".join(WORDS)] * 3, 90)


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return ["", "film", *islice(long_texts(0, WORDS), 60)]


def windows_of(ids: list[int]) -> list[list[int]]:
    """By the definition: as many tokens as have room, each time ``STRIDE`` before the end of the last ones."""
    first, *body, last = ids
    room, start = LENGTH - SPECIALS, 0
    found: list[list[int]] = []
    while not found or start + STRIDE < len(body):
        found.append([first, *body[start : start + room], last])
        start += room - STRIDE
    return found


@pytest.mark.parametrize("side", ["right", "left"])
def test_rows_have_the_tokens_of_the_whole_text(tokenizer: Tokenizer, texts: list[str], side: str) -> None:
    whole = [encoding.ids for encoding in TextEncoder(tokenizer, 100_000)(texts)]
    assert 10 < sum(len(ids) > LENGTH for ids in whole) < len(texts) - 10
    for ids, encoding in zip(whole, TextEncoder(tokenizer, LENGTH, side, BOTH_ENDS)(texts), strict=True):
        head = LENGTH // 4
        assert encoding.ids == (ids if len(ids) <= LENGTH else ids[:head] + ids[head - LENGTH :])
        assert len(encoding.type_ids) == len(encoding.ids)
    for ids, encoding in zip(whole, TextEncoder(tokenizer, LENGTH, side, WINDOWS)(texts), strict=True):
        from_the_end = [row[::-1] for row in windows_of(ids[::-1])]
        assert [row.ids for row in encoding.rows] == (windows_of(ids) if side == "right" else from_the_end)
        assert [len(row.type_ids) for row in encoding.rows] == [len(row) for row in encoding.rows]


def test_a_text_that_fits_is_read_alike_in_every_mode(tokenizer: Tokenizer, texts: list[str]) -> None:
    short = [
        text for text, read in zip(texts, TextEncoder(tokenizer, 9_999)(texts), strict=True) if len(read) <= LENGTH
    ]
    head = [encoding.ids for encoding in TextEncoder(tokenizer, LENGTH)(short)]
    for mode in (BOTH_ENDS, WINDOWS, LongTexts("windows", STRIDE, "first")):
        encoder = TextEncoder(tokenizer, LENGTH, "right", mode)
        assert [[row.ids for row in encoding.rows] for encoding in encoder(short)] == [[ids] for ids in head]


def test_the_first_window_alone_is_the_head(tokenizer: Tokenizer, texts: list[str]) -> None:
    first = TextEncoder(tokenizer, LENGTH, "right", LongTexts("windows", STRIDE, "first"))
    assert first(texts) == TextEncoder(tokenizer, LENGTH)(texts)


def test_pooling() -> None:
    logits = np.array([[1, -2], [3, 0], [8, -7], [2, 2], [5, 5]], dtype=np.float32)
    assert LongTexts("windows", 1, "mean").pool(logits, [2, 1, 2]).tolist() == [[2, -1], [8, -7], [3.5, 3.5]]
    assert LongTexts("windows", 1, "max").pool(logits, [2, 1, 2]).tolist() == [[3, 0], [8, -7], [5, 5]]
    assert np.isnan(WINDOWS.pool(np.array([[0.0], [np.nan]], dtype=np.float32), [2])).all()


def test_the_manifest_says_it_and_says_nothing_of_the_head(tmp_path: Path) -> None:
    for mode in (HEAD, BOTH_ENDS, WINDOWS, LongTexts("windows", 3, "max")):
        write_manifest(tmp_path, Manifest("onnx", "single_label", ("a", "b"), 16, 1, (), long_texts=mode.entry))
        assert LongTexts.of(read_manifest(tmp_path)) == mode
        assert ("long_texts" in (tmp_path / "compress.json").read_text(encoding="utf-8")) == (mode != HEAD)


@pytest.mark.parametrize(
    "entry", [{"mode": "tail"}, {"mode": "windows"}, {"mode": "windows", "stride": 0, "pooling": "mean"}, "windows", []]
)
def test_an_entry_that_no_step_writes_is_refused(tmp_path: Path, entry: object) -> None:
    with pytest.raises(CompressError, match="long_texts is"):
        write_manifest(tmp_path, Manifest("onnx", "single_label", ("a",), 16, 1, (), long_texts=entry))  # type: ignore[arg-type]
