"""Students of a teacher's layers, narrower ones, and those that do not fit their teacher."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.normalizers import Lowercase
from transformers import BertTokenizer, PreTrainedTokenizerFast

from compress.config import DistillConfig
from compress.distillation.students import check_tokenizers, make_student, student_from_layers
from compress.errors import CompressError
from compress.modeling.checkpoint import Checkpoint
from tests.tiny import HEAD_SIZE, make_bert, make_checkpoint, make_feeds, parts, same_weights, torch_logits, weights_of

LABELS = ("negative", "positive")
STATES = frozenset({"logits", "hidden.1"})


@pytest.fixture
def six_layers(tiny_encoder: Path) -> Checkpoint:
    return make_checkpoint(tiny_encoder, make_bert(heads=(4,) * 6, neurons=(128,) * 6), LABELS)


def make(teacher: Checkpoint, **settings: Any) -> Checkpoint:
    return make_student(teacher, DistillConfig.parse(settings))


@pytest.mark.parametrize(
    ("layers", "kept"),
    [(3, [0, 2, 4]), (2, [0, 3]), (1, [0]), (4, [0, 1, 3, 4]), (None, [0, 2, 4]), ([0, 5], [0, 5]), ([3], [3])],
)
def test_a_student_has_the_chosen_layers_bit_for_bit(six_layers: Checkpoint, layers: Any, kept: list[int]) -> None:
    before = weights_of(six_layers.model)
    student = student_from_layers(six_layers, layers)
    assert len(parts(student.model).bert.encoder.layer) == student.model.config.num_hidden_layers == len(kept)
    for position, index in enumerate(kept):
        layer = parts(six_layers.model).bert.encoder.layer[index]
        assert same_weights(weights_of(parts(student.model).bert.encoder.layer[position]), weights_of(layer))
    rest = {name: weight for name, weight in weights_of(student.model).items() if ".layer." not in name}
    assert same_weights(rest, {name: weight for name, weight in before.items() if ".layer." not in name})
    with torch.no_grad():
        for weight in student.model.parameters():
            weight.zero_()
    assert same_weights(weights_of(six_layers.model), before)  # nothing is shared
    assert six_layers.model.config.num_hidden_layers == 6


def test_a_student_of_all_layers_answers_as_the_teacher(six_layers: Checkpoint) -> None:
    feeds = make_feeds(5, 20, padded=True)
    for settings in ({}, {"hidden_size": 64, "heads": 4, "ffn_size": 128}):
        student = make(six_layers, layers=6, **settings)
        assert np.array_equal(torch_logits(student.model, feeds), torch_logits(six_layers.model, feeds))


def test_a_student_of_a_pruned_teacher_keeps_its_layers_widths(tiny_encoder: Path, tmp_path: Path) -> None:
    teacher = make_checkpoint(tiny_encoder, make_bert(heads=(4, 0, 3, 1), neurons=(96, 32, 0, 64)), LABELS)
    student = student_from_layers(teacher, [0, 3])
    assert (student.model.config.heads_per_layer, student.model.config.neurons_per_layer) == ([4, 1], [96, 64])
    assert teacher.model.config.heads_per_layer == [4, 0, 3, 1]
    student.model.save_pretrained(tmp_path)
    again = type(student.model).from_pretrained(tmp_path)
    assert same_weights(weights_of(again), weights_of(student.model))


def test_a_student_is_of_the_shape_that_was_asked_for(six_layers: Checkpoint) -> None:
    student = make(six_layers, layers="1,4", heads=2, ffn_size=48, hidden_size=2 * HEAD_SIZE)
    config = student.model.config
    assert (config.num_hidden_layers, config.num_attention_heads) == (2, 2)
    assert (config.intermediate_size, config.hidden_size) == (48, 32)
    assert (student.labels, student.tokenizer) == (LABELS, six_layers.tokenizer)
    positions = [parts(found.model).bert.embeddings.position_embeddings.weight for found in (six_layers, student)]
    kept = [positions[0][0].tolist().index(value) for value in positions[1][0].tolist()]
    for ours, index in zip(parts(student.model).bert.encoder.layer, (1, 4), strict=True):
        theirs = parts(six_layers.model).bert.encoder.layer[index]
        assert torch.equal(ours.output.LayerNorm.weight, theirs.output.LayerNorm.weight[kept])


def test_a_student_asks_no_more_than_the_widest_layer_has(tiny_encoder: Path) -> None:
    teacher = make_checkpoint(tiny_encoder, make_bert(heads=(1, 3, 0, 2), neurons=(32, 0, 96, 64)), LABELS)
    student = make(teacher, layers=4, heads=3, ffn_size=64)
    assert student.model.config.heads_per_layer == [1, 3, 0, 2]
    assert student.model.config.neurons_per_layer == [32, 0, 64, 64]
    with pytest.raises(CompressError, match=r"distill\.heads must be from 1 to 3, the teacher's, got 4;"):
        make(teacher, heads=4)
    with pytest.raises(CompressError, match=r"distill\.ffn_size must be from 1 to 96, the teacher's, got 97;"):
        make(teacher, ffn_size=97)


def test_a_student_that_reads_pairs_is_cut_by_what_pairs_do(six_layers: Checkpoint) -> None:
    single, pairs = (
        make(replace(six_layers, task=task), layers=1, heads=2).model for task in ("single_label", "pair_single_label")
    )
    assert not same_weights(weights_of(single), weights_of(pairs))


@pytest.mark.parametrize(("name", "most"), [("hidden_size", 64), ("ffn_size", 128), ("heads", 4)])
def test_a_student_wider_than_its_teacher_is_refused(six_layers: Checkpoint, name: str, most: int) -> None:
    with pytest.raises(CompressError, match=rf"distill\.{name} must be from 1 to {most}, .* got {most + 1};"):
        make(six_layers, **{name: most + 1})


@pytest.mark.parametrize("layers", [7, [0, 6], [2, 0], [1, 1]])
def test_layers_that_the_teacher_does_not_have_are_refused(six_layers: Checkpoint, layers: Any) -> None:
    with pytest.raises(CompressError, match=r"distill\.layers must be .*(at most 6|from 0 to 5)"):
        make(six_layers, layers=layers, hidden_size=32)


def with_tokenizer(checkpoint: Checkpoint, tokenizer: PreTrainedTokenizerFast) -> Checkpoint:
    return replace(checkpoint, tokenizer=tokenizer, source="another")


def vocabulary(checkpoint: Checkpoint) -> dict[str, int]:
    return dict(checkpoint.tokenizer.get_vocab())


def rebuilt(checkpoint: Checkpoint, change: Callable[[dict[str, Any]], None]) -> PreTrainedTokenizerFast:
    """The checkpoint's tokenizer with its file edited."""
    described = json.loads(checkpoint.tokenizer.backend_tokenizer.to_str())
    change(described)
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(described)))


def is_refused(teacher: Checkpoint, tokenizer: PreTrainedTokenizerFast) -> bool:
    """Where states are compared; logits are always compared."""
    student = with_tokenizer(teacher, tokenizer)
    check_tokenizers(teacher, student, frozenset({"logits"}))
    try:
        check_tokenizers(teacher, student, STATES)
    except CompressError as error:
        assert str(error).startswith("another: its tokenizer is not that of made here, so hidden.1 cannot be compared ")
        return True
    return False


def test_the_same_tokenizer_passes_whatever_its_limits_and_decoder(six_layers: Checkpoint) -> None:
    other = rebuilt(six_layers, lambda described: described.update(decoder=None))
    other.backend_tokenizer.enable_truncation(7)
    other.backend_tokenizer.enable_padding(length=9)
    assert not is_refused(six_layers, other)
    check_tokenizers(six_layers, make(six_layers), STATES)


def test_other_vocabularies_are_refused(six_layers: Checkpoint) -> None:
    tokens = vocabulary(six_layers)
    assert is_refused(six_layers, BertTokenizer(vocab=tokens | {"zebra": len(tokens)}))
    swapped = tokens | {"great": tokens["good"], "good": tokens["great"]}
    assert is_refused(six_layers, BertTokenizer(vocab=swapped))
    renamed = {"zebra" if token == "film" else token: index for token, index in tokens.items()}
    assert is_refused(six_layers, BertTokenizer(vocab=renamed))


@pytest.mark.parametrize(
    ("component", "setting"),
    [
        ("normalizer", {"strip_accents": False}),
        ("normalizer", {"lowercase": False}),
        ("pre_tokenizer", {"type": "Whitespace"}),
        ("model", {"max_input_chars_per_word": 7}),
        ("post_processor", {"pair": []}),
    ],
)
def test_other_components_are_refused(six_layers: Checkpoint, component: str, setting: dict[str, Any]) -> None:
    assert is_refused(six_layers, rebuilt(six_layers, lambda described: described[component].update(setting)))


def test_special_tokens_that_are_read_otherwise_and_another_kind_of_normalizer_are_refused(
    six_layers: Checkpoint,
) -> None:
    assert is_refused(six_layers, rebuilt(six_layers, lambda tokens: tokens["added_tokens"][0].update(lstrip=True)))
    other = rebuilt(six_layers, lambda _: None)
    other.backend_tokenizer.normalizer = Lowercase()
    assert is_refused(six_layers, other)
