"""Texts of any number to encodings on disk."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer

from compress.distillation import texts
from compress.distillation.texts import build_corpus
from compress.runtime.encoding import Encoding, Text, TextEncoder
from compress.training.batches import Encodings
from tests.conftest import FILLERS


@pytest.fixture
def encoder(tiny_encoder: Path) -> TextEncoder:
    return TextEncoder(AutoTokenizer.from_pretrained(tiny_encoder).backend_tokenizer, max_length=16)


def some_texts(count: int, seed: int = 0) -> list[Text]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(FILLERS, rng.integers(1, 30))) for _ in range(count)]


def test_it_is_the_labelled_texts_and_then_the_others(encoder: TextEncoder, tmp_path: Path) -> None:
    labelled, more = some_texts(30), some_texts(4_500, seed=1)  # more than are tokenized at once
    built = build_corpus(Encodings.pack(encoder(labelled)), iter(more), encoder, tmp_path / "corpus")
    expected = Encodings.pack(encoder([*labelled, *more]))
    assert len(built) == 4_530
    for name in ("ids", "type_ids", "offsets"):
        one, other = getattr(built, name), getattr(expected, name)
        assert one.dtype == other.dtype
        assert np.array_equal(one, other)
        assert isinstance(one.base, np.memmap)
    assert built[4_529] == encoder(more[-1:])[0]


def test_pairs_keep_their_segments(encoder: TextEncoder, tmp_path: Path) -> None:
    labelled: list[Text] = [("a film", "the story")]
    more: list[Text] = [("is very", "and"), ("its", "number of the")]
    built = build_corpus(Encodings.pack(encoder(labelled)), more, encoder, tmp_path)
    assert list(built) == encoder([*labelled, *more])
    assert 1 in built[2].type_ids


def test_without_more_texts_the_labelled_are_it(encoder: TextEncoder, tmp_path: Path) -> None:
    labelled = Encodings.pack(encoder(some_texts(3)))
    assert build_corpus(labelled, [], encoder, tmp_path / "corpus") is labelled
    assert not (tmp_path / "corpus").exists()


class Watched(TextEncoder):
    """Counts the texts that wait to be encoded."""

    waiting = 0

    def counted(self, texts: list[Text]) -> Iterator[Text]:
        for text in texts:
            self.waiting += 1
            yield text

    def __call__(self, texts: Sequence[Text]) -> list[Encoding]:
        assert 0 < self.waiting <= 100
        self.waiting -= len(texts)
        return super().__call__(texts)


def test_texts_are_read_only_as_they_are_needed(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(texts, "_TEXTS_AT_ONCE", 100)
    encoder = Watched(AutoTokenizer.from_pretrained(tiny_encoder).backend_tokenizer, max_length=16)
    built = build_corpus(Encodings.pack([]), encoder.counted(some_texts(950)), encoder, tmp_path)
    assert (len(built), encoder.waiting) == (950, 0)
