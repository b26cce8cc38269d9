"""The teacher cache: teachers' states for texts, kept on disk for every later run, student and process.

The files are ``root/TEACHER-PRECISION/SHARD/STATE.npy``. A text is found by a digest of its token ids, which depends on
tokenizer and truncation; the same text in another data set is found too.
"""

import errno
import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from compress.distillation.teacher_cache.shard import (
    INDEX,
    PARTIAL,
    Array,
    find,
    find_shards,
    is_sound,
    open_array,
)
from compress.errors import CompressError
from compress.locks import LockedError, locked
from compress.modeling.checkpoint import Checkpoint
from compress.modeling.states import LOGITS
from compress.progress import say
from compress.training.batches import Encodings, Rows

Keys = npt.NDArray[np.bytes_]

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def teacher_digest(teacher: Checkpoint) -> str:
    """sha256 over a teacher's weights and config, on which alone its states depend.

    The digest of the teacher's folder would not do: training changes the weights in memory and not that digest.
    """
    config = teacher.model.config.to_dict()
    relevant = {name: config[name] for name in config.keys() - {"_name_or_path", "transformers_version"}}
    sha256 = hashlib.sha256(json.dumps(relevant, sort_keys=True, default=str).encode())
    for name, weight in teacher.model.state_dict().items():
        sha256.update(f"{name} {weight.dtype} {list(weight.shape)}".encode())
        sha256.update(weight.detach().cpu().reshape(-1).view(torch.uint8).numpy())
    return sha256.hexdigest()


def text_keys(encodings: Encodings, rows: Rows) -> Keys:
    """The digest of each text's token and type ids, 16 bytes each, ``[rows]``."""
    digests = bytearray()
    for start, end in zip(encodings.offsets[rows].tolist(), encodings.offsets[rows + 1].tolist(), strict=True):
        content = encodings.ids[start:end].tobytes() + encodings.type_ids[start:end].tobytes()
        digests += hashlib.blake2b(content, digest_size=16).digest()
    return np.frombuffer(bytes(digests), dtype="S16")


class Cache:
    """The states of one teacher, known by its :func:`teacher_digest`, in one precision: ``fp32`` or ``bf16``."""

    def __init__(self, root: Path, teacher: str, precision: str) -> None:
        self.root = root
        self.folder = root / f"{teacher[:16]}-{precision}"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One process at a time computes and writes; the unfinished shard of a killed process is removed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = self.folder / "lock"
        with ExitStack() as held:
            try:
                held.enter_context(locked(lock))
            except LockedError:
                say(f"teacher cache: another process is writing to {self.folder}; waiting for it")
                held.enter_context(locked(lock, wait=True))
            for left in self.folder.glob(f"*{PARTIAL}"):
                shutil.rmtree(left, ignore_errors=True)
            yield

    @contextmanager
    def room_for(self, needed_bytes: int, remedy: str) -> Iterator[None]:
        """Report a full disk, before or while ``needed_bytes`` are written, in one line that ends with ``remedy``."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            if shutil.disk_usage(self.root).free < needed_bytes:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            yield
        except OSError as error:
            if error.errno not in _FULL:
                raise CompressError(
                    f"teacher cache {self.root}: cannot be written ({error.strerror}); "
                    "choose another folder with --teacher-cache"
                ) from None
            there = next(folder for folder in (self.root, *self.root.absolute().parents) if folder.exists())
            free_mb = shutil.disk_usage(there).free // 10**6
            raise CompressError(
                f"teacher cache {self.root}: {error.strerror}; it needs {math.ceil(needed_bytes / 10**6)} MB and has "
                f"{free_mb} MB; {remedy}"
            ) from None


class StateReader:
    """One state (``logits``, ``hidden.5``, ...) of the ``texts`` texts of a data set, as far as ``folder`` has it."""

    def __init__(self, folder: Path, state: str, texts: int) -> None:
        self.state = state
        self._folder = folder
        self._array_of = np.full(texts, -1, dtype=np.int32)
        self._start_of = np.zeros(texts, dtype=np.int64)
        self._arrays: list[Array] = []
        self._numbers: dict[Path, int] = {}  # the place of each open shard's array in the list
        self._sound: dict[tuple[Path, str], bool] = {}  # by shard and array: whether its checksum was right

    def missing(self, rows: Rows) -> npt.NDArray[np.bool_]:
        """Which of the texts ``rows`` the cache lacks, bool ``[rows]``."""
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
                found_rows = rows[wanted[hits]]
                self._array_of[found_rows] = self._open(shard)
                self._start_of[found_rows] = index["text" if self.state == LOGITS else "token"][at[hits]]

    def of_texts(self, rows: Rows) -> Array:
        """The states of the texts ``rows``, ``[rows, width]``; the cache must have them all."""
        assert not self.missing(rows).any(), "else they would get another text's states"
        states = np.empty((len(rows), self._arrays[0].shape[1]), dtype=self._arrays[0].dtype)
        for number in np.unique(self._array_of[rows]):
            here = self._array_of[rows] == number
            states[here] = self._arrays[number][self._start_of[rows[here]]]
        return states

    def of_tokens(self, rows: Rows, lengths: Rows, padded_length: int) -> Array:
        """The states of the tokens of the texts ``rows``, ``[rows, padded_length, width]``, padded with zeros."""
        assert not self.missing(rows).any(), "else they would get another text's states"
        states = np.zeros((len(rows), padded_length, self._arrays[0].shape[1]), dtype=self._arrays[0].dtype)
        places = zip(self._array_of[rows], self._start_of[rows], lengths, strict=True)
        for at, (number, start, length) in enumerate(places):
            states[at, :length] = self._arrays[number][start : start + length]
        return states

    def _is_sound(self, shard: Path, name: str) -> bool:
        """Whether the array ``name`` has its checksum, computed once; a damaged shard is reported and removed."""
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
