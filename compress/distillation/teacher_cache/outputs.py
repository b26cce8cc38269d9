"""The teacher's states of each batch: computed beside the student, or once, a shard at a time, and read from disk."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from compress.config import DistillationConfig
from compress.distillation.teacher_cache.cache import Cache, Keys, StateReader, text_keys
from compress.distillation.teacher_cache.shard import Array, new_shard, size_bytes
from compress.errors import CompressError
from compress.families.view import EncoderView
from compress.formatting import count
from compress.machine import cache_root, choose_precision, torch_device
from compress.modeling.checkpoint import Checkpoint
from compress.modeling.states import LOGITS, Batch, States, first_token_alone, recording, state_modules
from compress.progress import Advance, progress, say
from compress.runtime.encoding import pad
from compress.training.batches import Encodings, LengthBatches, Rows, TeacherOutputs


@dataclass(frozen=True)
class TeacherForward:
    """Runs a teacher without gradients and without dropout; with ``bf16`` under autocast."""

    model: nn.Module
    device: torch.device
    precision: str

    @classmethod
    def of(cls, model: nn.Module, config: DistillationConfig) -> "TeacherForward":
        """A teacher on the device and in the precision that ``config`` names."""
        kind = torch_device(config.device)
        # With its number: "cuda" alone changes its meaning when accelerate gives this process one of several GPUs.
        device = torch.device(kind, torch.cuda.current_device()) if kind == "cuda" else torch.device(kind)
        return cls(model, device, choose_precision(config.precision, kind))

    def ready(self) -> "TeacherForward":
        """Move the network to its device."""
        nn.Module.to(self.model, self.device).eval()
        return self

    def __call__(self, inputs: Batch, states: Collection[str]) -> States:
        """The ``states`` of padded texts, on the teacher's device; logits are float32."""
        autocast = torch.autocast(self.device.type, torch.bfloat16) if self.precision == "bf16" else nullcontext()
        alone = first_token_alone(self.model, states)
        with torch.no_grad(), autocast, alone, recording(self.model, states) as recorded:
            self.model(**{name: ids.to(self.device) for name, ids in EncoderView(self.model).inputs(inputs).items()})
        return recorded | {LOGITS: recorded[LOGITS].float()}


def widths_of(model: nn.Module, states: Iterable[str]) -> Mapping[str, int]:
    """The width of each state: the number of labels for logits, else of a token's values.

    Raises:
        CompressError: the model has no such state.
    """
    modules = state_modules(model, sorted(states), "teacher")
    return {name: getattr(module, "out_features", EncoderView(model).hidden_size) for name, module in modules.items()}


@dataclass(frozen=True)
class LiveOutputs:
    """A teacher that reads each batch beside the student; its states have the precision in which it computes.

    ``order`` holds for each label of the student its column in the teacher's logits; ``encodings`` are the texts as the
    teacher's tokenizer reads them.
    """

    forward: TeacherForward
    states: frozenset[str]
    order: list[int]
    encodings: Encodings

    def __call__(self, rows: Sequence[int], batch: Batch) -> States:
        device = batch["input_ids"].device
        feeds = {name: torch.from_numpy(ids) for name, ids in pad([self.encodings[row] for row in rows]).items()}
        states = {name: state.to(device) for name, state in self.forward(feeds, self.states).items()}
        return states | {LOGITS: states[LOGITS][:, self.order]}


@dataclass(frozen=True)
class CachedOutputs:
    """States read from disk; those of tokens are float16, and zeros where the batch is padded."""

    readers: Mapping[str, StateReader]
    order: list[int]

    def __call__(self, rows: Sequence[int], batch: Batch) -> States:
        at, lengths = np.asarray(rows, dtype=np.int64), batch["attention_mask"].sum(dim=1).cpu().numpy()
        states = {
            name: reader.of_texts(at)[:, self.order]
            if name == LOGITS
            else reader.of_tokens(at, lengths, batch["input_ids"].shape[1])
            for name, reader in self.readers.items()
        }
        return {name: torch.from_numpy(state).to(batch["input_ids"].device) for name, state in states.items()}


_BATCH_TOKENS = {"cpu": 4096, "cuda": 32768}
# A killed process loses at most a shard: a few minutes of a large teacher on a CPU.
_SHARD_TEXTS, _SHARD_TOKENS = 50_000, 2_000_000


def precompute(
    forward: TeacherForward, encodings: Encodings, rows: Rows, widths: Mapping[str, int], cache: Cache, name: str
) -> dict[str, StateReader]:
    """A reader of each state of the texts ``rows``, by state; the teacher reads the texts that the cache lacks.

    ``name`` is what messages call the texts.

    Raises:
        CompressError: a state is not finite, or the cache cannot be written.
    """
    readers = {state: StateReader(cache.folder, state, len(encodings)) for state in widths}
    writer = _Writer(forward, encodings, rows, widths, cache, readers)
    for chunk in _chunks(encodings, rows):
        writer.look_up(chunk, text_keys(encodings, chunk))
    missing = rows[writer.missing(rows)]
    size = count(size_bytes(widths, len(rows), tokens_of(encodings, rows)))
    say(f"teacher cache: {cache.folder}, {size}B for {len(rows):,} {name}, {len(missing):,} to answer")
    if len(missing):
        forward.ready()
        with progress("teacher", len(missing)) as advance:
            writer.compute(missing, advance)
        forward.model.cpu()
    return readers


@dataclass(frozen=True)
class _Writer:
    forward: TeacherForward
    encodings: Encodings
    rows: Rows
    widths: Mapping[str, int]
    cache: Cache
    readers: Mapping[str, StateReader]

    def look_up(self, rows: Rows, keys: Keys) -> None:
        for reader in self.readers.values():
            reader.look_up(rows, keys)

    def missing(self, rows: Rows) -> npt.NDArray[np.bool_]:
        """Which of ``rows`` lack a state."""
        lacking: npt.NDArray[np.bool_] = np.logical_or.reduce(
            [reader.missing(rows) for reader in self.readers.values()]
        )
        return lacking

    def compute(self, missing: Rows, advance: Advance) -> None:
        """Write the states of the texts ``missing``; every process can read a shard as soon as it is written."""
        # Shards are cut by all rows, not by the missing ones: after a kill the teacher's batches are the same again.
        chunks = [rows[self.missing(rows)] for rows in _chunks(self.encodings, self.rows)]
        left_bytes = self._size_bytes(missing)
        remedy = "free some space, or choose another folder with --teacher-cache"
        if len(self.widths) > 1:
            remedy += ", or a smaller --cache-gb"
        for rows in (rows for rows in chunks if len(rows)):
            keys = text_keys(self.encodings, rows)
            with self.cache.room_for(left_bytes, remedy), self.cache.locked():
                self.look_up(rows, keys)  # another process may have written them meanwhile
                lacking = self.missing(rows)
                _, first = np.unique(keys[lacking], return_index=True)
                advance(len(rows) - len(first))
                if len(first):
                    self._write_shard(rows[lacking][first], keys[lacking][first], advance)
            self.look_up(rows, keys)
            if self.missing(rows).any():
                raise CompressError(f"teacher cache {self.cache.folder}: a new shard cannot be read; check the disk")
            left_bytes -= self._size_bytes(rows)

    def _write_shard(self, rows: Rows, keys: Keys, advance: Advance) -> None:
        """Run the teacher on the texts ``rows``, which all differ, and write each state that any of them lacks."""
        lengths = _lengths(self.encodings, rows)
        widths = {name: width for name, width in self.widths.items() if self.readers[name].missing(rows).any()}
        batch_size = max(1, int(_BATCH_TOKENS[self.forward.device.type] / lengths.mean()))
        with new_shard(self.cache.folder, widths, len(rows), int(lengths.sum())) as shard:
            for at in LengthBatches(lengths, batch_size, seed=0).epoch(0):
                feeds = pad([self.encodings[row] for row in rows[at]])
                inputs = {name: torch.from_numpy(array) for name, array in feeds.items()}
                padded = self.forward(inputs, widths)
                real = inputs["attention_mask"].bool().to(self.forward.device)
                states = {name: padded[name] if name == LOGITS else padded[name][real] for name in widths}
                shard.append(keys[at], lengths[at], {name: _stored(name, state) for name, state in states.items()})
                advance(len(at))

    def _size_bytes(self, rows: Rows) -> int:
        return size_bytes(self.widths, len(rows), tokens_of(self.encodings, rows))


def _stored(name: str, state: torch.Tensor) -> Array:
    array: Array = (state if name == LOGITS else state.half()).cpu().numpy()
    if np.isfinite(array).all():
        return array
    if name == LOGITS:
        raise CompressError("teacher: its logits are not finite numbers; train it again, or use --precision fp32")
    raise CompressError(
        f"teacher: its {name} is beyond what 16 bits hold; use --cache-gb 0, which stores no hidden states"
    )


def _chunks(encodings: Encodings, rows: Rows) -> Iterator[Rows]:
    """``rows`` in groups, each of at most a shard's texts and about a shard's tokens."""
    for start in range(0, len(rows), _SHARD_TEXTS):
        texts = rows[start : start + _SHARD_TEXTS]
        shard_of = np.cumsum(_lengths(encodings, texts)) // _SHARD_TOKENS
        yield from np.split(texts, np.flatnonzero(np.diff(shard_of)) + 1)


def tokens_of(encodings: Encodings, rows: Rows) -> int:
    """The number of tokens of the texts ``rows`` together."""
    return int(_lengths(encodings, rows).sum())


def _lengths(encodings: Encodings, rows: Rows) -> Rows:
    return encodings.offsets[rows + 1] - encodings.offsets[rows]


def teacher_outputs(
    teacher: Checkpoint,
    digest: str,
    encodings: Encodings,
    labels: tuple[str, ...],
    wanted: frozenset[str],
    config: DistillationConfig,
    name: str = "texts",
    rows: Rows | None = None,
) -> TeacherOutputs:
    """The teacher's logits and its ``wanted`` states for each text, or for those of ``rows``.

    States of up to ``config.cache_gb`` are computed once for each text, by the first run that needs them, and read from
    disk after that. If they take more, the teacher reads each batch during the training.

    ``digest`` is the teacher's; ``encodings`` are the texts as the teacher's tokenizer reads them; ``labels`` are the
    student's, the same set as the teacher's, in the order of the logits' columns; ``name`` is what messages call the
    texts.

    Raises:
        CompressError: the teacher has no such state, its states are not finite, or the cache cannot be written.
    """
    forward = TeacherForward.of(teacher.model, config)
    order = [teacher.labels.index(label) for label in labels]
    rows = np.arange(len(encodings)) if rows is None else rows
    widths = widths_of(teacher.model, {LOGITS, *wanted})
    hidden_bytes = size_bytes(widths, 0, tokens_of(encodings, rows))
    if hidden_bytes / 1e9 > config.cache_gb:
        say(
            f"teacher: answers each batch as it comes; its hidden states would take {count(hidden_bytes)}B, "
            f"which is above --cache-gb {config.cache_gb:g}"
        )
        return LiveOutputs(forward.ready(), frozenset(widths), order, encodings)
    cache = Cache(cache_root(config.teacher_cache), digest, forward.precision)
    return CachedOutputs(precompute(forward, encodings, rows, widths, cache, name), order)
