"""One state of the texts of a data set, read from the shards of a teacher cache."""

import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt

from compress.distillation.teacher_cache.shard import INDEX, LOGITS, Array, find, find_shards, is_sound, open_array
from compress.progress import say

Rows = npt.NDArray[np.int64]


class StateReader:
    """One state (``logits``, ``hidden.5``, ...) of the ``texts`` texts of a data set, as far as the cache has it."""

    def __init__(self, folder: Path, state: str, texts: int) -> None:
        self.state = state
        self._folder = folder
        self._array_of = np.full(texts, -1, dtype=np.int32)
        self._start_of = np.zeros(texts, dtype=np.int64)
        self._arrays: list[Array] = []
        self._numbers: dict[Path, int] = {}  # of each open shard's array
        self._verdicts: dict[tuple[Path, str], bool] = {}

    def missing(self, rows: Rows) -> npt.NDArray[np.bool_]:
        """Which of the texts ``rows`` are not there, bool ``[rows]``."""
        return self._array_of[rows] < 0

    def look_up(self, rows: Rows, keys: Array) -> None:
        """Find the texts ``rows``, whose keys are ``keys``, in the shards that are there now."""
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
        """Read the whole file once; a damaged shard is told of and removed."""
        if (shard, name) not in self._verdicts:
            self._verdicts[shard, name] = is_sound(shard, name)
            if not self._verdicts[shard, name]:
                say(f"teacher cache: {shard} is damaged and removed; what it held is computed again")
                shutil.rmtree(shard, ignore_errors=True)
        return self._verdicts[shard, name]

    def _open(self, shard: Path) -> int:
        if shard not in self._numbers:
            self._numbers[shard] = len(self._arrays)
            self._arrays.append(open_array(shard, self.state))
        return self._numbers[shard]
