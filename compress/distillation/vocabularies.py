"""A student that knows only some of its teacher's tokens: each reads a text by its own tokenizer."""

import numpy as np
import torch

from compress.distillation.teacher_cache.shard import LOGITS
from compress.errors import CompressError
from compress.families.tokenizers.wordpiece import ids_in
from compress.families.view import EncoderView
from compress.modeling.checkpoint import Checkpoint
from compress.training.encodings import Encodings


def same_tokens(teacher: Checkpoint, student: Checkpoint) -> bool:
    """Whether both know the same tokens, by the same ids."""
    return teacher.tokenizer.get_vocab() == student.tokenizer.get_vocab()


def has_table_of(teacher: Checkpoint, student: Checkpoint) -> bool:
    """Whether the student's embeddings are the teacher's own, of all the tokens that it knows."""
    table, own = (EncoderView(model.model).words.weight for model in (teacher, student))
    if not same_tokens(teacher, student):
        table = table[torch.from_numpy(ids_in(teacher.tokenizer, student.tokenizer))]
    return torch.equal(table, own)


def require_same_positions(
    teacher: Checkpoint, its: Encodings, student: Checkpoint, own: Encodings, states: frozenset[str], command: str
) -> None:
    """Refuse to compare states token by token where the two split a text into different tokens.

    Raises:
        CompressError: a state other than the logits is wanted, and there is such a text.
    """
    if not states - {LOGITS}:
        return
    ids = ids_in(teacher.tokenizer, student.tokenizer)
    differs = sum(not np.array_equal(one.ids, ids[other.ids]) for one, other in zip(its, own, strict=True))
    if differs:
        raise CompressError(
            f"{command}: {differs:,} of {len(own):,} texts to learn from are split into other tokens than the "
            f"teacher's, so {min(states - {LOGITS})} cannot be compared token by token; give a teacher that was cut to "
            "the same tokens, or only soft_weight and hard_weight"
        )
