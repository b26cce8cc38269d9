"""Texts to token ids as transformers makes them, and batches of like length."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from compress.runtime.encoding import Encoding, Text, TextEncoder, pad
from compress.runtime.predictor import by_length

TEXTS = ["", "good", "a very bad film", "the film is boring " * 40, "Ünïcödé, 東京!", "x" * 150, "tab\tand\nline  end "]


@pytest.mark.parametrize("max_length", [4, 9, 128])
def test_single_texts_are_encoded_as_by_transformers(tiny_encoder: Path, max_length: int) -> None:
    encoder = TextEncoder.from_file(tiny_encoder / "tokenizer.json", max_length)
    expected = AutoTokenizer.from_pretrained(tiny_encoder)(TEXTS, truncation=True, max_length=max_length)
    found = encoder(TEXTS)
    assert [encoding.ids for encoding in found] == expected["input_ids"]
    assert [encoding.type_ids for encoding in found] == expected["token_type_ids"]


@pytest.mark.parametrize("max_length", [5, 12, 128])
def test_pairs_are_encoded_as_by_transformers(tiny_encoder: Path, max_length: int) -> None:
    pairs: list[Text] = [(first, second) for first in TEXTS for second in TEXTS]
    encoder = TextEncoder.from_file(tiny_encoder / "tokenizer.json", max_length)
    expected = AutoTokenizer.from_pretrained(tiny_encoder)(
        [pair[0] for pair in pairs], [pair[1] for pair in pairs], truncation=True, max_length=max_length
    )
    found = encoder(pairs)
    assert [encoding.ids for encoding in found] == expected["input_ids"]
    assert [encoding.type_ids for encoding in found] == expected["token_type_ids"]
    assert {1} <= set(found[8].type_ids)


def test_encoders_made_from_one_tokenizer_have_limits_of_their_own(tiny_encoder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_encoder).backend_tokenizer
    long, short = TextEncoder(tokenizer, 20), TextEncoder(tokenizer, 5)
    lengths = [len(encoder(["the film is boring " * 10])[0]) for encoder in (long, short, long)]
    assert lengths == [20, 5, 20]
    assert tokenizer.truncation is None


def test_limits_baked_into_the_file_do_not_count(tiny_encoder: Path, tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tiny_encoder / "tokenizer.json"))
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=50)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    found = TextEncoder.from_file(tmp_path / "tokenizer.json", 10)(["good", "the film is boring " * 40])
    assert list(map(len, found)) == [3, 10]


@given(st.lists(st.integers(1, 70), max_size=60), st.integers(1, 200))
def test_batches_by_length_have_all_rows_once_within_the_budget(lengths: list[int], budget: int) -> None:
    batches = list(by_length(lengths, budget))
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        padded = len(batch) * max(lengths[row] for row in batch)
        assert padded <= budget or len(batch) == 1
    in_order = [lengths[row] for batch in batches for row in batch]
    assert in_order == sorted(in_order)
    for batch, following in pairwise(batches):  # none is smaller than it must be
        assert (len(batch) + 1) * lengths[following[0]] > budget


@given(st.lists(st.integers(1, 20), min_size=1, max_size=9))
def test_padding_is_on_the_right_and_masked(lengths: list[int]) -> None:
    encodings = [Encoding(list(range(1, length + 1)), [1] * length) for length in lengths]
    feeds = pad(encodings)
    assert set(feeds) == {"input_ids", "attention_mask", "token_type_ids"}
    for array in feeds.values():
        assert array.dtype == np.int64
        assert array.shape == (len(lengths), max(lengths))
    for row, length in enumerate(lengths):
        assert feeds["input_ids"][row, :length].tolist() == encodings[row].ids
        assert feeds["attention_mask"][row].tolist() == [1] * length + [0] * (max(lengths) - length)
        assert feeds["token_type_ids"][row].tolist() == [1] * length + [0] * (max(lengths) - length)
        assert not feeds["input_ids"][row, length:].any()
