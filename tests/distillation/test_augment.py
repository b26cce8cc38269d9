"""Altered copies of texts."""

from collections import Counter
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from compress.distillation.texts import augmented
from compress.runtime.encoding import Text, TextEncoder

MASK = "[MASK]"
LONG = [" ".join(f"w{row}x{word}" for word in range(20)) for row in range(400)]


def words_of(text: Text) -> list[str]:
    assert isinstance(text, str)
    return text.split()


def test_a_copy_is_its_text_with_masks_or_a_masked_ngram_of_it() -> None:
    kinds: Counter[str] = Counter()
    masked = total = 0
    ngram_lengths: Counter[int] = Counter()
    for source in LONG:
        for copy in augmented([source], 4, MASK, seed=0):
            words, own = words_of(copy), source.split()
            starts = [
                start
                for start in range(len(own) - len(words) + 1)
                if all(word in (MASK, own[start + at]) for at, word in enumerate(words))
            ]
            assert starts, "no other words, in no other order"
            assert words != own
            kinds["whole" if len(words) == len(own) else "ngram"] += 1
            if len(words) == len(own):
                masked += words.count(MASK)
                total += len(words)
            else:
                ngram_lengths[len(words)] += 1
    assert kinds["ngram"] / sum(kinds.values()) == pytest.approx(0.25, abs=0.06)  # left-out copies shift it a little
    assert masked / total == pytest.approx(0.1 / (1 - 0.9**20), abs=0.01)  # given that a word is masked
    assert sorted(ngram_lengths) == [1, 2, 3, 4, 5]
    assert max(ngram_lengths.values()) < 2 * min(ngram_lengths.values())


def test_the_seed_and_the_text_alone_decide() -> None:
    copies = list(augmented(LONG[:20], 3, MASK, seed=0))
    assert copies == list(augmented(LONG[:20], 3, MASK, seed=0))
    assert copies != list(augmented(LONG[:20], 3, MASK, seed=1))
    alone = [copy for text in reversed(LONG[:20]) for copy in augmented([text], 3, MASK, seed=0)]
    assert sorted(map(words_of, alone)) == sorted(map(words_of, copies))
    assert list(augmented(LONG[:1], 2, MASK, seed=0)) == list(augmented(LONG[:1], 3, MASK, seed=0))[:2]


def test_no_copy_is_its_text_or_comes_twice() -> None:
    for text in ("good", "good  film ", "a b c"):
        copies = [tuple(words_of(copy)) for copy in augmented([text], 100, MASK, seed=0)]
        assert len(set(copies)) == len(copies)
        assert tuple(text.split()) not in copies
        assert all(copies)
    assert list(augmented(["good"], 100, MASK, seed=0)) == [MASK]
    assert list(augmented(["", "  "], 100, MASK, seed=0)) == []


def test_there_are_at_most_so_many_copies_of_each() -> None:
    assert list(augmented(LONG, 0, MASK, seed=0)) == []
    counts = Counter(words_of(copy)[0].split("x")[0] for copy in augmented(LONG, 3, "w-x", seed=0))
    assert max(count for word, count in counts.items() if word != "w-") == 3
    assert len(list(augmented(LONG, 3, MASK, seed=0))) > 2.5 * len(LONG)


def test_of_a_pair_one_side_is_altered() -> None:
    pairs: list[Text] = [(text, f"second {text}") for text in LONG]
    altered: Counter[int] = Counter()
    for source in pairs:
        for copy in augmented([source], 2, MASK, seed=0):
            assert isinstance(copy, tuple)
            changed = [side for side in (0, 1) if copy[side] != source[side]]
            assert len(changed) == 1
            altered[changed[0]] += 1
    assert altered[0] / sum(altered.values()) == pytest.approx(0.5, abs=0.06)


def test_the_mask_is_the_tokenizers_own_token(tiny_encoder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_encoder)
    (copy,) = augmented(["good"], 50, str(tokenizer.mask_token), seed=0)
    (encoding,) = TextEncoder(tokenizer.backend_tokenizer, 16)([copy])
    assert encoding.ids == [tokenizer.cls_token_id, tokenizer.mask_token_id, tokenizer.sep_token_id]
