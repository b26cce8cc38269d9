"""One shard of the teacher cache: a folder of flat arrays on disk, which is complete or absent.

``index.npy`` says where each text's states begin, sorted by the texts' keys; ``STATE.npy`` holds a state of all texts,
one after the other; ``shard.json`` holds the checksums of these files.
"""

import io
import json
import os
import shutil
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

import numpy as np
import numpy.typing as npt

from compress.durable import parse_json
from compress.modeling.states import LOGITS

Array = npt.NDArray[Any]

INDEX = "index"
PARTIAL = ".partial"
# A text's key of 16 bytes, the row of its logits, and the row of its first token's states.
_ENTRY = np.dtype([("key", "S16"), ("text", "<i8"), ("token", "<i8")])
_MANIFEST = "shard.json"


def dtype_of(state: str) -> np.dtype[Any]:
    """float32 for logits, which are few; float16 for the states of tokens, which it rounds by about 0.05%."""
    return np.dtype("<f4" if state == LOGITS else "<f2")


def size_bytes(widths: Mapping[str, int], texts: int, tokens: int) -> int:
    """The size of a shard in bytes, without file headers; ``widths`` are the widths of its states, by name."""
    data = sum(_rows(state, texts, tokens) * width * dtype_of(state).itemsize for state, width in widths.items())
    return data + texts * _ENTRY.itemsize


def _rows(state: str, texts: int, tokens: int) -> int:
    return texts if state == LOGITS else tokens


@dataclass
class _File:
    """A ``.npy`` file that is written from front to back; its final shape is known at the start."""

    file: BinaryIO
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    crc32: int = 0

    def __post_init__(self) -> None:
        header = io.BytesIO()
        about = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": self.shape}
        np.lib.format.write_array_header_1_0(header, about)
        self._write(header.getvalue())

    def append(self, rows: Array) -> None:
        self._write(np.ascontiguousarray(rows, dtype=self.dtype).tobytes())

    def _write(self, content: bytes) -> None:
        # Not through a memory map: on a full disk that would kill the process instead of raising an error.
        self.file.write(content)
        self.crc32 = zlib.crc32(content, self.crc32)


class NewShard:
    """A shard that is being written."""

    def __init__(self, files: dict[str, _File]) -> None:
        self._files = files
        self._index: list[Array] = []
        self._texts = self._tokens = 0

    def append(self, keys: Array, lengths: npt.NDArray[np.int64], states: Mapping[str, Array]) -> None:
        """Add texts.

        Args:
            keys: 16 bytes a text, ``[batch]``.
            lengths: tokens of each text, ``[batch]``.
            states: logits ``[batch, labels]``; states of tokens ``[sum(lengths), width]``, in the order of the texts.
        """
        entries = np.zeros(len(keys), dtype=_ENTRY)
        entries["key"] = keys
        entries["text"] = self._texts + np.arange(len(keys))
        entries["token"] = self._tokens + np.cumsum(lengths) - lengths
        self._index.append(entries)
        self._texts += len(keys)
        self._tokens += int(lengths.sum())
        for name, file in self._files.items():
            file.append(states[name])

    def sorted_index(self) -> Array:
        """The content of ``index.npy``."""
        index = np.concatenate(self._index)
        return index[np.argsort(index["key"])]


@contextmanager
def new_shard(folder: Path, widths: Mapping[str, int], texts: int, tokens: int) -> Iterator[NewShard]:
    """A new shard in ``folder`` for this number of texts and tokens; it is complete at the end, or removed."""
    partial = folder / f"{uuid4().hex}{PARTIAL}"
    partial.mkdir()
    try:
        with ExitStack() as stack:

            def create(name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> _File:
                return _File(stack.enter_context((partial / f"{name}.npy").open("wb")), shape, dtype)

            files = {
                state: create(state, (_rows(state, texts, tokens), width), dtype_of(state))
                for state, width in widths.items()
            }
            shard = NewShard(files)
            yield shard
            index = create(INDEX, (texts,), _ENTRY)
            index.append(shard.sorted_index())
            written = files | {INDEX: index}
            for array in written.values():
                array.file.flush()
                os.fsync(array.file.fileno())  # or a power cut after the renaming could leave holes
        checksums = {name: array.crc32 for name, array in written.items()}
        (partial / _MANIFEST).write_text(json.dumps(checksums), encoding="utf-8")
        partial.rename(partial.with_suffix(""))
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def find_shards(folder: Path, state: str) -> list[Path]:
    """The complete shards in ``folder`` that hold ``state``."""
    shards = (path.parent for path in folder.glob(f"*/{state}.npy"))
    return sorted(shard for shard in shards if shard.suffix != PARTIAL)


def find(index: Array, keys: Array) -> npt.NDArray[np.int64]:
    """The entry of each key in a shard's index, ``[keys]``; -1 for keys that the index lacks."""
    known = np.ascontiguousarray(index["key"])
    at = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    return np.where(known[at] == keys, at, -1)


def is_sound(shard: Path, name: str) -> bool:
    """Whether the array ``name`` of a shard has its checksum.

    Raises:
        OSError: the disk fails, or the files may not be read.
    """
    try:
        checksums = parse_json((shard / _MANIFEST).read_bytes())
        return isinstance(checksums, dict) and checksums.get(name) == _crc32(shard / f"{name}.npy")
    except (FileNotFoundError, IsADirectoryError, ValueError):
        return False


def open_array(shard: Path, name: str) -> Array:
    """An array of a shard, the index or a state, mapped from disk."""
    return np.asarray(np.load(shard / f"{name}.npy", mmap_mode="r"))


def _crc32(path: Path) -> int:
    crc32 = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            crc32 = zlib.crc32(block, crc32)
    return crc32
