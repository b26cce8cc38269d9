"""The teacher cache: the answers of teachers for texts, on disk, for every run, student and process that asks again.

``root/TEACHER-PRECISION/SHARD/STATE.npy``. A text is known by a digest of its token ids, so tokenizer and truncation
are part of it, and the same text of another data set is found too.
"""

import errno
import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from filelock import FileLock, Timeout

from compress.distillation.teacher_cache.reader import Rows
from compress.distillation.teacher_cache.shard import INDEX, LOGITS, PARTIAL, find, find_shards, is_sound, open_array
from compress.errors import CompressError
from compress.modeling.checkpoint import Checkpoint
from compress.progress import say
from compress.training.encodings import Encodings

Keys = npt.NDArray[np.bytes_]

_LOCK = "lock"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def teacher_digest(teacher: Checkpoint) -> str:
    """sha256 over a teacher's weights and config: what it answers depends on nothing else.

    Not the digest of the folder that it came from: training changes the weights in memory and leaves that as it was.
    """
    config = teacher.model.config.to_dict()
    told = {name: config[name] for name in config.keys() - {"_name_or_path", "transformers_version"}}
    sha256 = hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode())
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
    """The answers of one teacher, computed in one precision.

    Args:
        root: of the answers of all teachers.
        teacher: what :func:`teacher_digest` says of it.
        precision: ``fp32`` or ``bf16``.
    """

    def __init__(self, root: Path, teacher: str, precision: str) -> None:
        self.root = root
        self.folder = root / f"{teacher[:16]}-{precision}"

    def made_otherwise(self, keys: Keys) -> str | None:
        """Where the answers for any of these texts are another's, whose: another teacher, or another precision."""
        for other in self.root.glob("*-*/"):
            for shard in find_shards(other, LOGITS) if other != self.folder else ():
                if is_sound(shard, INDEX) and (find(open_array(shard, INDEX), keys) >= 0).any():
                    same = other.name.split("-")[0] == self.folder.name.split("-")[0]
                    return "in another precision" if same else "by another teacher"
        return None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One process at a time computes and writes here; what a killed one left half-written is removed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / _LOCK)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            say(f"teacher cache: another process is at work in {self.folder}; waiting for its answers")
            lock.acquire()
        try:
            for left in self.folder.glob(f"*{PARTIAL}"):
                shutil.rmtree(left, ignore_errors=True)
            yield
        finally:
            lock.release()

    @contextmanager
    def room_for(self, needed_bytes: int, remedy: str) -> Iterator[None]:
        """Have a full disk, before or while ``needed_bytes`` are written, end in one line; ``remedy`` ends the line."""
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
            free_mb = shutil.disk_usage(self.root).free // 10**6
            raise CompressError(
                f"teacher cache {self.root}: {error.strerror}; it needs {math.ceil(needed_bytes / 10**6)} MB and has "
                f"{free_mb} MB; {remedy}"
            ) from None
