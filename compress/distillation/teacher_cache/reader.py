"""The teacher's states of the texts of a data set, read from the shards of a teacher cache."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from compress.distillation.teacher_cache.shard import INDEX, LOGITS, Array, find, find_shards, is_sound, open_array
from compress.modeling.states import Batch, States
from compress.progress import say
from compress.training.batches import Rows


class StateReader:
    """One state (``logits``, ``hidden.5``, ...) of the texts of a data set, as far as the cache has it.

    Args:
        folder: of the shards.
        state: its name.
        texts: how many the data set has.
    """

    def __init__(self, folder: Path, state: str, texts: int) -> None:
        self.state = state
        self._folder = folder
        self._array_of = np.full(texts, -1, dtype=np.int32)
        self._start_of = np.zeros(texts, dtype=np.int64)
        self._arrays: list[Array] = []
        self._numbers: dict[Path, int] = {}  # the place of each open shard's array in the list
        self._sound: dict[tuple[Path, str], bool] = {}  # what was checked already

    def missing(self, rows: Rows) -> npt.NDArray[np.bool_]:
        """Which of the texts ``rows`` the cache does not have, bool ``[rows]``."""
        return self._array_of[rows] < 0

    def look_up(self, rows: Rows, keys: Array) -> None:
        """Find the texts ``rows``, whose keys are ``keys``, in the present shards."""
        for shard in find_shards(self._folder, self.state):
            wanted = np.flatnonzero(self.missing(rows))
            if len(wanted) == 0:
                return
            if not self._is_sound(shard, INDEX):
                continue
            index = open_array(shard, INDEX)
            at = find(index, keys[wanted])
            hits = at >= 0
            if hits.any() and self._is_sound(shard, self.state):
                found = rows[wanted[hits]]
                self._array_of[found] = self._open(shard)
                self._start_of[found] = index["text" if self.state == LOGITS else "token"][at[hits]]

    def of_texts(self, rows: Rows) -> Array:
        """The states of the texts ``rows``, ``[rows, width]``."""
        states = np.empty((len(rows), self._arrays[0].shape[1]), dtype=self._arrays[0].dtype)
        for number in np.unique(self._array_of[rows]):
            here = self._array_of[rows] == number
            states[here] = self._arrays[number][self._start_of[rows[here]]]
        return states

    def of_tokens(self, rows: Rows, lengths: Rows, padded_length: int) -> Array:
        """The states of the tokens of the texts ``rows``, ``[rows, padded_length, width]``, padded with zeros."""
        states = np.zeros((len(rows), padded_length, self._arrays[0].shape[1]), dtype=self._arrays[0].dtype)
        places = zip(self._array_of[rows], self._start_of[rows], lengths, strict=True)
        for at, (number, start, length) in enumerate(places):
            states[at, :length] = self._arrays[number][start : start + length]
        return states

    def _is_sound(self, shard: Path, name: str) -> bool:
        """Compare the file with its checksum, once; a damaged shard is reported and removed."""
        if (shard, name) not in self._sound:
            self._sound[shard, name] = is_sound(shard, name)
            if not self._sound[shard, name]:
                say(f"teacher cache: {shard} is damaged and was removed; its states are computed again")
                shutil.rmtree(shard, ignore_errors=True)
        return self._sound[shard, name]

    def _open(self, shard: Path) -> int:
        if shard not in self._numbers:
            self._numbers[shard] = len(self._arrays)
            self._arrays.append(open_array(shard, self.state))
        return self._numbers[shard]


@dataclass(frozen=True)
class CachedOutputs:
    """States read from disk; those of tokens are float16, and zeros where the batch is padded.

    Attributes:
        readers: of each state, by name.
        order: for each label of the student the column of the teacher's logits.
    """

    readers: Mapping[str, StateReader]
    order: list[int]

    def __call__(self, rows: Sequence[int], batch: Batch) -> States:
        """See :class:`compress.training.batches.TeacherOutputs`."""
        at, lengths = np.asarray(rows, dtype=np.int64), batch["attention_mask"].sum(dim=1).cpu().numpy()
        states = {
            name: reader.of_texts(at)[:, self.order]
            if name == LOGITS
            else reader.of_tokens(at, lengths, batch["input_ids"].shape[1])
            for name, reader in self.readers.items()
        }
        return {name: torch.from_numpy(state).to(batch["input_ids"].device) for name, state in states.items()}
