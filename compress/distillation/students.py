"""Students: some of the teacher's layers, narrower where told so, or a model of the user's own with its tokenizer."""

import copy
from typing import Any

from torch import nn

from compress.config import DistillConfig
from compress.errors import CompressError
from compress.families.tokenizers.wordpiece import components, knows_fewer_tokens
from compress.modeling.checkpoint import Checkpoint
from compress.modeling.narrow import narrow
from compress.modeling.pruned import head_size_of
from compress.task import reads_pairs

_IN_WORDS = {
    "normalizer": "normalizer",
    "pre_tokenizer": "pre-tokenizer",
    "model": "splitting of words",
    "added_tokens": "treatment of special tokens",
    "post_processor": "post-processor",
}


def make_student(teacher: Checkpoint, config: DistillConfig) -> Checkpoint:
    """A smaller copy of the teacher, its weights all the teacher's own: chosen layers, and what stays of each.

    Raises:
        CompressError: the teacher lacks such layers, or is narrower than ``config`` asks for.
    """
    _check_widths(teacher, config)
    student = student_from_layers(teacher, config.layers)
    if config.heads is config.ffn_size is config.hidden_size is None:
        return student
    widths = (config.heads, config.ffn_size, config.hidden_size)
    return student.with_model(narrow(student.model, *widths, pairs=reads_pairs(teacher.task)))


def student_from_layers(teacher: Checkpoint, layers: int | list[int] | None) -> Checkpoint:
    """A copy of the teacher that keeps only ``layers``: a number of evenly spaced ones (default half), or a list.

    Keeping every other layer is the start that DistilBERT found good (Sanh et al. 2019).
    """
    chosen = choose_layers(layers, len(teacher.model.bert.encoder.layer), "distill")
    model = copy.deepcopy(teacher.model)
    model.bert.encoder.layer = nn.ModuleList(model.bert.encoder.layer[index] for index in chosen)
    config = model.config
    config.num_hidden_layers = len(chosen)
    for widths in ("heads_per_layer", "neurons_per_layer"):
        if hasattr(config, widths):
            setattr(config, widths, [getattr(config, widths)[index] for index in chosen])
    return teacher.with_model(model)


def check_tokenizers(teacher: Checkpoint, student: Checkpoint) -> None:
    """Refuse a student that splits texts by other rules than its teacher; it may know fewer of the same tokens."""
    difference = _difference(teacher, student)
    if difference:
        raise CompressError(
            f"{student.source}: its tokenizer is not that of {teacher.source}: {difference}; "
            "choose a student with the teacher's tokenizer"
        )


def choose_layers(layers: int | list[int] | None, available: int, step: str) -> list[int]:
    """The numbers of ``layers``: those listed, or so many evenly spaced ones of ``available`` (default half).

    Raises:
        CompressError: there are no such layers; it names the setting of ``step``.
    """
    if layers is None:
        layers = max(1, available // 2)
    if isinstance(layers, int):
        if layers > available:
            raise CompressError(f"{step}.layers must be at most {available}, the model's layers, got {layers}")
        return [index * available // layers for index in range(layers)]
    if max(layers) >= available or len(set(layers)) < len(layers) or sorted(layers) != layers:
        raise CompressError(
            f"{step}.layers must be rising layer numbers from 0 to {available - 1}, got {','.join(map(str, layers))}"
        )
    return layers


def _check_widths(teacher: Checkpoint, config: DistillConfig) -> None:
    layers: Any = teacher.model.bert.encoder.layer
    head_size = head_size_of(teacher.model.config)
    widest = {
        "hidden_size": teacher.model.config.hidden_size,
        "ffn_size": max(layer.output.dense.in_features for layer in layers),
        "heads": max(layer.attention.output.dense.in_features // head_size for layer in layers),
    }
    for name, most in widest.items():
        given = getattr(config, name)
        if given is not None and given > most:
            raise CompressError(
                f"distill.{name} must be from 1 to {most}, the teacher's, got {given}; "
                "a student is cut out of its teacher"
            )


def _difference(teacher: Checkpoint, student: Checkpoint) -> str | None:
    """In words, the first thing in which the tokenizers differ, from the coarsest to the finest."""
    if knows_fewer_tokens(student.tokenizer, teacher.tokenizer):
        return None
    ids, its_ids = teacher.tokenizer.get_vocab(), student.tokenizer.get_vocab()
    if len(ids) != len(its_ids):
        return f"it has {len(its_ids):,} tokens, the teacher's {len(ids):,}"
    for token in sorted(ids, key=lambda token: ids[token]):
        if its_ids.get(token) != ids[token]:
            return f"{token!r} has {_id(its_ids.get(token))} in it, {_id(ids[token])} in the teacher's"
    parts, its_parts = components(teacher.tokenizer), components(student.tokenizer)
    lower, its_lower = ((found["normalizer"] or {}).get("lowercase") for found in (parts, its_parts))
    if {lower, its_lower} == {True, False}:
        return f"it {_case(its_lower)}, the teacher's {_case(lower)}"
    return next((f"its {_IN_WORDS[name]} differs" for name in parts if parts[name] != its_parts[name]), None)


def _id(token_id: int | None) -> str:
    return "no id" if token_id is None else f"id {token_id}"


def _case(lower: bool | None) -> str:
    return "lower-cases" if lower else "keeps upper case"
