"""Many encoded texts in three flat arrays, in memory or mapped from disk."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compress.runtime.encoding import Encoding


@dataclass(frozen=True)
class Encodings:
    """Token ids of ``n`` texts, one after the other.

    Attributes:
        ids: int32 ``[tokens]``.
        type_ids: uint8 ``[tokens]``, the segment of each token.
        offsets: int64 ``[n + 1]``; text ``i`` is ``ids[offsets[i]:offsets[i + 1]]``.
    """

    ids: npt.NDArray[np.int32]
    type_ids: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]

    @classmethod
    def pack(cls, encodings: Iterable[Encoding]) -> "Encodings":
        """The same texts as arrays in memory."""
        whole = list(encodings)
        lengths = [len(encoding) for encoding in whole]
        return cls(
            np.fromiter((token for encoding in whole for token in encoding.ids), np.int32, sum(lengths)),
            np.fromiter((kind for encoding in whole for kind in encoding.type_ids), np.uint8, sum(lengths)),
            np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64),
        )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> Encoding:
        start, end = self.offsets[row], self.offsets[row + 1]
        return Encoding(self.ids[start:end].tolist(), self.type_ids[start:end].tolist())

    def __iter__(self) -> Iterator[Encoding]:
        return (self[row] for row in range(len(self)))

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each text, special ones included, ``[n]``."""
        return np.diff(self.offsets)
