"""A teacher's answers for the texts that a student learns from: kept on disk, or given anew batch by batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from compress.config import DistillationConfig
from compress.distillation.teacher_cache.cache import Cache, teacher_digest
from compress.distillation.teacher_cache.forward import TeacherForward, widths_of
from compress.distillation.teacher_cache.precompute import precompute
from compress.distillation.teacher_cache.reader import StateReader
from compress.distillation.teacher_cache.shard import LOGITS, size_bytes
from compress.machine import cache_root
from compress.modeling.checkpoint import Checkpoint
from compress.modeling.states import Batch, States
from compress.progress import say
from compress.runtime.encoding import pad
from compress.training.batches import TeacherOutputs
from compress.training.encodings import Encodings


def answers(
    teacher: Checkpoint,
    encodings: Encodings,
    labels: tuple[str, ...],
    wanted: frozenset[str],
    config: DistillationConfig,
) -> TeacherOutputs:
    """The teacher's logits, and the ``wanted`` states of its tokens, for each text.

    What fits ``config.cache_gb`` is computed once for each text, by whatever run asks first, and read from disk after
    that; else the teacher answers each batch as it comes.

    Args:
        teacher: its network stays as it is, in evaluation mode.
        encodings: the texts, as the teacher's tokenizer reads them.
        labels: the student's, the same set as the teacher's; the order of the logits' columns.
        wanted: names of states.
        config: device, precision and where the cache is.

    Raises:
        CompressError: the teacher has no such state or gives no finite numbers, or the cache cannot be written.
    """
    forward = TeacherForward.of(teacher.model, config)
    order = [teacher.labels.index(label) for label in labels]
    widths = widths_of(teacher.model, {LOGITS, *wanted})
    hidden_gb = size_bytes(widths, 0, int(encodings.offsets[-1])) / 1e9
    if hidden_gb > config.cache_gb:
        say(
            f"teacher: answers each batch as it comes; its hidden states would take {hidden_gb:.2g} GB, "
            f"which is above --cache-gb {config.cache_gb:g}"
        )
        return LiveOutputs(forward.ready(), frozenset(widths), order, encodings)
    cache = Cache(cache_root(config.teacher_cache), teacher_digest(teacher), forward.precision)
    return CachedOutputs(precompute(forward, encodings, widths, cache), order)


@dataclass(frozen=True)
class LiveOutputs:
    """The teacher reads each batch beside the student; its states are in the precision that it computes in."""

    forward: TeacherForward
    states: frozenset[str]
    order: list[int]
    encodings: Encodings

    def __call__(self, rows: Sequence[int], batch: Batch) -> States:
        """See :class:`compress.training.batches.TeacherOutputs`."""
        device = batch["input_ids"].device
        feeds = {name: torch.from_numpy(ids) for name, ids in pad([self.encodings[row] for row in rows]).items()}
        states = {name: state.to(device) for name, state in self.forward(feeds, self.states).items()}
        return states | {LOGITS: states[LOGITS][:, self.order]}


@dataclass(frozen=True)
class CachedOutputs:
    """Answers read from disk; states of tokens are float16, and zeros where the batch is padded."""

    columns: Mapping[str, StateReader]
    order: list[int]

    def __call__(self, rows: Sequence[int], batch: Batch) -> States:
        """See :class:`compress.training.batches.TeacherOutputs`."""
        at, lengths = np.asarray(rows, dtype=np.int64), batch["attention_mask"].sum(dim=1).cpu().numpy()
        found = {
            name: column.of_texts(at)[:, self.order]
            if name == LOGITS
            else column.of_tokens(at, lengths, batch["input_ids"].shape[1])
            for name, column in self.columns.items()
        }
        return {name: torch.from_numpy(array).to(batch["input_ids"].device) for name, array in found.items()}
