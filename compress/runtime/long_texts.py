"""How a model reads a text of more tokens than it takes at once: its beginning, both ends, or all of it in windows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.folder import Manifest
from compress.manifest_entries import LongTextMode, Pooling

if TYPE_CHECKING:
    from compress.runtime.predictor import Logits


@dataclass(frozen=True, slots=True)
class LongTexts:
    """How a folder's model reads long texts, as finetune chose; a text that fits is read alike in every mode.

    Attributes:
        mode: ``head``: the beginning alone (the end, where the tokenizer cuts there). ``head-tail``: a quarter of the
            tokens from the beginning, the others from the end, in one row (Sun et al. 2019). ``windows``: all of the
            text, in rows of ``max_length`` tokens (Pappagari et al. 2019).
        stride: tokens that neighbouring windows share.
        pooling: how the logits of a text's windows become one row: the ``mean`` or the ``max`` of each logit, or those
            of the ``first`` window, which alone is then read (Dai and Callan 2019).
    """

    mode: LongTextMode = "head"
    stride: int = 0
    pooling: Pooling = "mean"

    @classmethod
    def of(cls, manifest: Manifest) -> "LongTexts":
        """The long-text settings in a folder's manifest."""
        return cls(**manifest.long_texts or {})

    @property
    def entry(self) -> dict[str, Any] | None:
        """The entry in a manifest; None for ``head``."""
        if self.mode == "windows":
            return {"mode": self.mode, "stride": self.stride, "pooling": self.pooling}
        return None if self.mode == "head" else {"mode": self.mode}

    @property
    def in_windows(self) -> bool:
        """Whether a text may be several rows."""
        return self.mode == "windows" and self.pooling != "first"

    @property
    def head_alone(self) -> bool:
        """Whether only the beginning is read, as every other program does."""
        return self.mode != "head-tail" and not self.in_windows

    def to_train(self) -> "LongTexts":
        """The settings for training, which reads all windows even if later only the first answers."""
        return replace(self, pooling="mean")

    def pool(self, logits: "Logits", windows: Sequence[int]) -> "Logits":
        """Logits of each text, ``[texts, labels]``, from those of all windows, ``[windows of all texts, labels]``.

        ``windows`` is the number of each text's windows, which come one after the other.
        """
        ends = np.cumsum(windows, dtype=np.int64)
        starts = ends - np.asarray(windows, dtype=np.int64)
        if self.pooling == "max":
            return np.asarray(np.maximum.reduceat(logits, starts), dtype=np.float32)
        sums = np.add.reduceat(logits.astype(np.float64), starts)
        return np.asarray(sums / (ends - starts)[:, None], dtype=np.float32)


HEAD = LongTexts()
