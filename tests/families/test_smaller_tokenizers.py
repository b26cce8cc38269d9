"""BPE and Unigram tokenizers with fewer tokens: texts whose tokens all stay are read as before, in any script."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast, XLMRobertaTokenizer

from compress.families import FAMILIES
from compress.families.tokenizers.smaller import KINDS, describe, ids_in, knows_fewer_tokens, with_tokens
from compress.pruning.vocabulary import chosen_tokens
from tests.families.tokenizers import SPECIALS, TRAINERS

FIRST_LETTERS = {
    "Latin": 0x61,
    "Greek": 0x3B1,
    "Cyrillic": 0x430,
    "Hebrew": 0x5D0,
    "Arabic": 0x641,
    "Devanagari": 0x915,
    "Thai": 0xE01,
    "Hangul": 0xAC00,
    "Hiragana": 0x3042,
    "Han": 0x4E00,
}
each_kind = pytest.mark.parametrize(  # CamemBERT's is XLM-R's but for the special tokens
    "model_type", [pytest.param(name, marks=pytest.mark.slow) if name == "camembert" else name for name in TRAINERS]
)
POOL = 400  # words of a script, made of a few parts, so that tokens have parts in common


def made_texts(seed: int, number: int) -> list[str]:
    """Of words that come up as words do, the n-th in proportion to 1 / n; each text has one script, or two."""
    rng = random.Random(seed)
    pools = []
    for first in FIRST_LETTERS.values():
        letters = [chr(first + at) for at in range(24)]
        parts = ["".join(rng.choices(letters, k=rng.randint(1, 3))) for _ in range(40)]
        pools.append(["".join(rng.choices(parts, k=rng.randint(1, 4))) for _ in range(POOL)])
    frequencies = [1 / at for at in range(1, POOL + 1)]
    return [
        " ".join(
            word for pool in rng.sample(pools, rng.choice((1, 1, 2))) for word in rng.choices(pool, frequencies, k=4)
        )
        for _ in range(number)
    ]


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return made_texts(0, 3000)


@pytest.fixture(scope="module")
def tokenizers(texts: list[str]) -> Any:
    """One of each kind, with rare words and letters that it has never seen."""
    return {model_type: TRAINERS[model_type](texts[:1500], 1500) for model_type in TRAINERS}


def ids_of(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> list[list[int]]:
    return [encoding.ids for encoding in tokenizer.backend_tokenizer.encode_batch(list(texts))]


def assert_same_where_all_stay(whole: Any, smaller: Any, texts: Sequence[str]) -> float:
    """The share of the texts whose tokens all stay."""
    kept = ids_in(whole, smaller)
    before, after = ids_of(whole, texts), ids_of(smaller, texts)
    stays = np.isin(np.arange(len(whole)), kept)
    stay = [bool(stays[ids].all()) for ids in before]
    assert all(kept[new].tolist() == old for old, new, same in zip(before, after, stay, strict=True) if same)
    unknown = [
        sum(ids.count(tokenizer.unk_token_id) for ids in found)
        for tokenizer, found in ((whole, before), (smaller, after))
    ]
    assert unknown[1] <= unknown[0]
    return float(np.mean(stay))


@each_kind
def test_texts_whose_tokens_all_stay_are_read_the_same(model_type: str, tokenizers: Any, texts: list[str]) -> None:
    whole, rng = tokenizers[model_type], random.Random(0)
    description = describe(whole)
    kind = KINDS[description["model"]["type"]]
    gone = [token for token in whole.get_vocab() if rng.random() < 0.1]
    kept = set(whole.get_vocab()) - set(gone) | set(whole.all_special_tokens) | kind.fallbacks(description["model"])
    smaller = with_tokens(whole, kept)
    assert len(smaller) < len(whole)
    assert set(smaller.get_vocab()) == kind.needed(description["model"], kept)
    assert 0.02 < assert_same_where_all_stay(whole, smaller, texts) < 0.98
    assert knows_fewer_tokens(smaller, whole)
    assert not knows_fewer_tokens(whole, smaller)


@each_kind
def test_tokens_chosen_for_some_texts_read_these_as_before_and_others_without_unknown_ones(
    model_type: str, tokenizers: Any, texts: list[str], tmp_path: Path
) -> None:
    whole = tokenizers[model_type]
    some = [text for text in texts[:1500] if text.isascii()]
    counts = np.bincount(np.concatenate(ids_of(whole, some)))
    smaller = with_tokens(whole, chosen_tokens(whole, counts, common=0))
    assert len(smaller) < 0.7 * len(whole)
    assert assert_same_where_all_stay(whole, smaller, some) == 1
    assert assert_same_where_all_stay(whole, smaller, texts) < 0.5
    smaller.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    pairs = {"text": texts[:50], "text_pair": texts[50:100]}
    assert again(**pairs)["input_ids"] == smaller(**pairs)["input_ids"]
    if FAMILIES[model_type].counts_tokens:  # positions start after that
        assert again.pad_token_id == smaller.pad_token_id == whole.pad_token_id


@each_kind
def test_real_texts_are_read_the_same(model_type: str, shared_data: Path) -> None:
    files = [shared_data / "banking77" / "test.csv", shared_data / "sst2" / "test.tsv"]
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    whole = TRAINERS[model_type](lines[::4], 2000)
    counts = np.bincount(np.concatenate(ids_of(whole, lines[:300])))
    smaller = with_tokens(whole, chosen_tokens(whole, counts, common=300))
    assert 0.1 < assert_same_where_all_stay(whole, smaller, lines) < 0.95


def test_a_token_that_two_merges_make_keeps_the_parts_of_both() -> None:
    merges = [("b", "c"), ("a", "b"), ("a", "bc"), ("ab", "c"), ("abc", "d"), ("d", "d")]
    tokens = [*"abcd", *("".join(pair) for pair in merges)]
    ids = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    whole = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE(ids, merges)))
    model = describe(with_tokens(whole, {"abcd"}))["model"]
    assert list(model["vocab"]) == ["a", "b", "c", "d", "bc", "ab", "abc", "abcd"]
    assert [tuple(pair) for pair in model["merges"]] == merges[:-1]


def test_unknown_characters_cost_as_much_as_before() -> None:
    """By the lowest score: ``xy`` and ``z`` beat an unknown x before ``yz`` only while the score of q counts."""
    start, specials = "\N{LOWER ONE EIGHTH BLOCK}", [(token, 0.0) for token in SPECIALS]
    pieces = [(start, -2.0), ("xy", -15.0), ("z", -15.0), ("yz", -1.0), ("q", -20.0), ("<mask>", 0.0)]
    whole = XLMRobertaTokenizer(vocab=[*specials, *pieces])
    smaller = with_tokens(whole, set(whole.get_vocab()) - {"q"})
    assert whole.tokenize("xyz") == smaller.tokenize("xyz") == [start, "xy", "z"]


def test_bytes_stay_where_unknown_characters_are_split_into_them() -> None:
    found = [(f"<0x{byte:02X}>", -9.0) for byte in range(256)]
    letters = [(letter, -1.0) for letter in sorted({letter for piece, _ in found for letter in piece})]
    backend = Tokenizer(models.Unigram([("<unk>", 0.0), ("AA", -1.5), *letters, *found], 0, byte_fallback=True))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    whole = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")
    smaller = with_tokens(whole, chosen_tokens(whole, np.zeros(0, dtype=np.int64), common=0))
    assert set(whole.get_vocab()) - set(smaller.get_vocab()) == {"AA"}
    assert smaller.tokenize("AAé") == ["A", "A", "<0xC3>", "<0xA9>"]
