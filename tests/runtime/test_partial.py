"""Reading only a part of a long text gives the tokens of all of it, whatever the tokenizer does."""

from copy import deepcopy
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer

from compress.runtime.partial import PartialTokenizer, Sides
from tests.runtime.long_texts import KINDS, long_pairs, long_texts, make_tokenizer, parts_and_differences

TEXTS, PAIRS = 80, 8


@pytest.fixture(scope="module")
def lines(shared_data: Path) -> list[str]:
    rows = (shared_data / "sst2" / "test.tsv").read_text(encoding="utf-8").splitlines()[1:]
    return [row.split("\t")[0][:80] for row in rows[:400]]


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def tokenizer(kind: str, lines: list[str]) -> Tokenizer:
    return make_tokenizer(kind, lines)


@pytest.mark.parametrize(("side", "length"), [("right", 22), ("left", 23)])
def test_a_part_has_the_tokens_of_the_whole(
    kind: str, tokenizer: Tokenizer, lines: list[str], side: str, length: int
) -> None:
    words = sorted({word for line in lines for word in line.split()})
    texts: list[Sides] = [(text,) for text in islice(long_texts(length, words), TEXTS)]
    texts += islice(long_pairs(length, words), PAIRS)
    parts, different = parts_and_differences(tokenizer, texts, length, side)
    assert different == []
    if kind in {"bert", "roberta", "xlm"}:
        assert sum(part != text for part, text in zip(parts, texts, strict=True)) > 15
    if kind in {"unknown", "no words"}:
        assert parts == texts


ODD = {
    "a word of 20,000 letters, then others": "ab" * 10_000 + " good film" * 20,
    "blanks alone": " \n\t\u3000" * 1_000,
    "blanks, then words": " " * 5_000 + "good film " * 30,
    "ideographs": "京都中国電影很好看" * 300,
    "marks alone": "e" + "\u0301" * 5_000 + " b",
    "letters that grow": "\u0130\ufb01\u1e9e " * 500,
    "a token with blanks inside, again and again": "New York " * 300,
    "blanks that tokens take": "the  good <n>  film " * 100,
}


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("name", ODD)
def test_odd_texts_too(tokenizer: Tokenizer, name: str, side: str) -> None:
    assert parts_and_differences(tokenizer, [(ODD[name],)], 16, side)[1] == []


def test_no_more_is_read_than_is_needed(lines: list[str]) -> None:
    tokenizer = make_tokenizer("bert", lines, added=False)
    tokenizer.enable_truncation(64)
    texts: list[Sides] = [("good film " * 1_000_000,), ("中国" * 1_000_000,), ("good film " * 1_000, "a film")]
    found = PartialTokenizer(tokenizer, 64, keeps_start=True).read(texts)
    assert all(len(part[0]) < 1_000 for part, _ in found)


def test_a_pair_of_long_texts_gives_the_odd_token_to_the_longer_one(lines: list[str]) -> None:
    tokenizer = make_tokenizer("bert", lines, added=False)
    words = "the good film and the bad " * 50
    pairs: list[Sides] = [(words, words), (words + "film", words), (words, words + "film"), (words, "\u0301" * 3_000)]
    for length in (32, 33):
        parts, different = parts_and_differences(tokenizer, pairs, length, "right")
        assert different == []
        assert all(len(part[0]) < len(words) for part in parts)


class Noted:
    """A tokenizer that keeps what it was given to read."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.read: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def encode_batch_fast(self, texts: list[Any], **settings: Any) -> list[Any]:
        self.read += [side for text in texts for side in ((text,) if isinstance(text, str) else text)]
        return self._tokenizer.encode_batch_fast(texts, **settings)


@pytest.mark.parametrize(("length", "whole"), [(63, 0), (64, 1)])  # 3 of them are special tokens
def test_of_two_long_texts_that_share_an_odd_number_of_tokens_each_is_read_whole_once(
    lines: list[str], length: int, whole: int
) -> None:
    first, second = "the good film " * 200, "and the bad one " * 150
    pairs: list[Sides] = [(first, second), (second, first), (second + "a film", first), (first, "a film")]
    for pair in pairs:
        tokenizer = make_tokenizer("bert", lines, added=False)
        tokenizer.enable_truncation(length)
        noted = Noted(tokenizer)
        ((_, found),) = PartialTokenizer(noted, length, keeps_start=True).read([pair])  # type: ignore[arg-type]
        assert (found.ids, found.type_ids) == ((expected := tokenizer.encode(pair[0], pair[1])).ids, expected.type_ids)
        assert [noted.read.count(text) for text in pair] == ([0, 1] if pair[1] == "a film" else [whole] * 2)


def test_an_added_token_that_must_be_a_whole_word(lines: list[str]) -> None:
    """Behind a letter ``-x`` is none, so no text may start with it that did not."""
    tokenizer = make_tokenizer("bert", lines, added=False)
    tokenizer.add_tokens([AddedToken("-good", single_word=True)])
    text = "film-good" + " " * 20 + "film"
    assert parts_and_differences(deepcopy(tokenizer), [(text,)], 4, "left")[1] == []
