"""A tokenizer with fewer tokens: what it still splits as before, and that it loads wherever the whole one does."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import AutoTokenizer, BertTokenizer, PreTrainedTokenizerFast

from compress.errors import CompressError
from compress.families.tokenizers.smaller import ids_in, knows_fewer_tokens, require_known_kind, with_tokens
from tests.conftest import SPECIALS

LETTERS = "abc"
ENDS = [*LETTERS, *("##" + letter for letter in LETTERS)]
pieces = st.tuples(st.sampled_from(["", "##"]), st.text(LETTERS, min_size=2, max_size=4)).map("".join)


def wordpiece(tokens: list[str]) -> PreTrainedTokenizerFast:
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys([*SPECIALS, *tokens]))}
    return BertTokenizer(vocab=vocabulary, model_max_length=32)


@given(
    longer=st.lists(pieces, max_size=12, unique=True),
    gone=st.sets(st.integers(0, 11)),
    texts=st.lists(st.lists(st.text(LETTERS + "x", min_size=1, max_size=9), max_size=5).map(" ".join), max_size=6),
)
@settings(deadline=None, max_examples=60)
def test_words_whose_pieces_stay_are_split_as_before_and_no_word_becomes_unknown(
    longer: list[str], gone: set[int], texts: list[str]
) -> None:
    whole = wordpiece([*ENDS, *longer])
    kept = {*SPECIALS, *ENDS, *(token for number, token in enumerate(longer) if number not in gone)}
    smaller = with_tokens(whole, kept)
    assert set(smaller.get_vocab()) == kept & whole.get_vocab().keys()
    for text in texts:
        before, after = whole.tokenize(text), smaller.tokenize(text)
        if set(before) <= kept:
            assert after == before
        assert after.count("[UNK]") == before.count("[UNK]")
        assert "".join(after).replace("##", "") == "".join(before).replace("##", "")


def test_ids_are_closed_up_in_the_old_order_and_all_that_names_one_follows(tmp_path: Path) -> None:
    whole = wordpiece(["film", "bad", *ENDS, "good"])
    whole.add_tokens(["<url>"])
    whole.add_special_tokens({"additional_special_tokens": ["<e>"]})
    smaller = with_tokens(whole, {*SPECIALS, "bad", "good", "<url>", "<e>", "never there"})
    order = [*SPECIALS, "bad", "good", "<url>", "<e>"]
    assert smaller.get_vocab() == {token: number for number, token in enumerate(order)}
    assert ids_in(whole, smaller).tolist() == [whole.get_vocab()[token] for token in order]
    assert (smaller.pad_token_id, smaller.cls_token_id, set(smaller.all_special_ids)) == (0, 2, {0, 1, 2, 3, 4, 8})
    assert smaller.model_max_length == 32
    smaller.save_pretrained(tmp_path)
    expected = [2, 6, 7, 8, 3, 5, 3]
    found = [
        Tokenizer.from_file(str(tmp_path / "tokenizer.json")).encode("good <url><e>", "bad").ids,
        AutoTokenizer.from_pretrained(tmp_path)("good <url><e>", "bad")["input_ids"],
        BertTokenizer.from_pretrained(tmp_path)("good <url><e>", "bad")["input_ids"],
        PreTrainedTokenizerFast.from_pretrained(tmp_path)("good <url><e>", "bad")["input_ids"],
    ]
    assert found == [expected] * 4


def test_fewer_tokens_are_known_from_other_tokens_and_other_rules() -> None:
    whole = wordpiece([*ENDS, "film", "good"])
    smaller = with_tokens(whole, {*SPECIALS, *ENDS, "good"})
    assert knows_fewer_tokens(smaller, whole)
    assert not knows_fewer_tokens(whole, smaller)
    assert not knows_fewer_tokens(whole, whole)
    assert not knows_fewer_tokens(wordpiece([*ENDS, "bad"]), whole)
    assert not knows_fewer_tokens(wordpiece(["good", *ENDS]), whole)  # in another order
    cased = BertTokenizer(vocab=smaller.get_vocab(), do_lower_case=False)
    assert not knows_fewer_tokens(cased, whole)


def test_a_tokenizer_of_another_kind_is_refused() -> None:
    other = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"a": 0}, "a")))
    with pytest.raises(CompressError, match=r"^somewhere: its tokenizer is WordLevel; --vocabulary works on"):
        require_known_kind(other, "somewhere")
    require_known_kind(wordpiece(ENDS), "somewhere")
