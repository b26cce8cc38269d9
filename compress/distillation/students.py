"""Students: layers of the teacher, perhaps narrower, or a model of the user's own with its tokenizer."""

import copy

import numpy as np
import torch

from compress.config import DistillConfig
from compress.errors import CompressError
from compress.families.tokenizers.smaller import components, ids_in, knows_fewer_tokens
from compress.families.view import EncoderView
from compress.modeling.checkpoint import Checkpoint
from compress.modeling.narrow import narrow
from compress.modeling.states import LOGITS
from compress.modeling.surgery import choose_layers, keep_layers, rebuilt
from compress.modeling.widths import Widths
from compress.task import reads_pairs
from compress.training.batches import Encodings


def make_student(teacher: Checkpoint, config: DistillConfig) -> Checkpoint:
    """A smaller copy of the teacher, with its own weights: the chosen layers, and as much of each as ``config`` says.

    Raises:
        CompressError: the teacher lacks such layers, or is narrower than ``config`` says.
    """
    _check_widths(teacher, config)
    student = student_from_layers(teacher, config.layers)
    if config.heads is config.ffn_size is config.hidden_size is None:
        return student
    widths = {"heads": config.heads, "ffn_size": config.ffn_size, "hidden_size": config.hidden_size}
    return student.with_model(narrow(student.model, **widths, pairs=reads_pairs(teacher.task)))


def student_from_layers(teacher: Checkpoint, layers: int | list[int] | None) -> Checkpoint:
    """A copy of the teacher that keeps only ``layers``: a number of evenly spaced ones (default half), or a list.

    Keeping every other layer is the start that DistilBERT found good (Sanh et al. 2019).
    """
    model = copy.deepcopy(teacher.model)
    keep_layers(model, choose_layers(layers, len(EncoderView(model).layers), "distill"))
    return teacher.with_model(rebuilt(model) if EncoderView(model).begins_with_norm else model)


def check_tokenizers(teacher: Checkpoint, student: Checkpoint, states: frozenset[str]) -> None:
    """Refuse to compare ``states`` other than logits where the teacher's tokenizer splits texts by other rules.

    The student may know fewer of the same tokens.
    """
    if states - {LOGITS} and not split_alike(teacher, student):
        raise CompressError(
            f"{student.source}: its tokenizer is not that of {teacher.source}, so {min(states - {LOGITS})} cannot be "
            "compared token by token; choose a student with the teacher's tokenizer, or only soft_weight, hard_weight "
            "and a loss of your own that reads logits"
        )


def split_alike(teacher: Checkpoint, student: Checkpoint) -> bool:
    """Whether both have the same tokenizer, except that the student's may know fewer tokens."""
    whole, own = teacher.tokenizer, student.tokenizer
    if whole.truncation_side != own.truncation_side:
        return False
    same = same_tokens(teacher, student) and components(whole) == components(own)
    return same or knows_fewer_tokens(own, whole)


def same_tokens(teacher: Checkpoint, student: Checkpoint) -> bool:
    """Whether both tokenizers know the same tokens, by the same ids."""
    return teacher.tokenizer.get_vocab() == student.tokenizer.get_vocab()


def has_table_of(teacher: Checkpoint, student: Checkpoint) -> bool:
    """Whether the student's table of word embeddings is the teacher's own, for the tokens that the student knows."""
    if not split_alike(teacher, student):
        return False
    table, own = (EncoderView(model.model).words.weight for model in (teacher, student))
    if not same_tokens(teacher, student):
        table = table[torch.from_numpy(ids_in(teacher.tokenizer, student.tokenizer))]
    return torch.equal(table, own)


def require_same_positions(
    teacher: Checkpoint,
    teacher_encodings: Encodings,
    student: Checkpoint,
    student_encodings: Encodings,
    states: frozenset[str],
    command: str,
) -> None:
    """Refuse to compare states token by token where teacher and student split a text into different tokens.

    Raises:
        CompressError: a state other than the logits is wanted, and there is such a text.
    """
    if not states - {LOGITS} or teacher_encodings is student_encodings:
        return
    ids = ids_in(teacher.tokenizer, student.tokenizer)
    texts = zip(teacher_encodings, student_encodings, strict=True)
    differing = sum(not np.array_equal(theirs.ids, ids[ours.ids]) for theirs, ours in texts)
    if differing:
        raise CompressError(
            f"{command}: {differing:,} of {len(student_encodings):,} texts to learn from are split into other tokens "
            f"than the teacher's, so {min(states - {LOGITS})} cannot be compared token by token; give a teacher that "
            "was cut to the same tokens, or only soft_weight and hard_weight"
        )


def _check_widths(teacher: Checkpoint, config: DistillConfig) -> None:
    widths = Widths.of(teacher.model)
    widest = {
        "hidden_size": EncoderView(teacher.model).hidden_size,
        "ffn_size": max(widths.neurons),
        "heads": max(widths.heads),
    }
    for name, most in widest.items():
        size = getattr(config, name)
        if size is not None and size > most:
            raise CompressError(
                f"distill.{name} must be from 1 to {most}, the teacher's, got {size}; "
                "a student is cut out of its teacher"
            )
