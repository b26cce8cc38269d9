"""Does the ONNX graph answer as PyTorch does? Checked on every batch size, length and padding that goes wrong."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from compress.errors import CompressError
from compress.progress import progress
from compress.runtime.encoding import Feeds
from compress.runtime.predictor import Predictor

BATCHES = (1, 2, 7, 32)
LENGTHS = (2, 9, 31, 128, 512)


@dataclass(frozen=True)
class Parity:
    """How far apart two models' logits are at most, over ``batches`` batches."""

    max_logit_difference: float
    batches: int


def check_parity(reference: Predictor, other: Predictor, vocabulary: int, longest: int, tolerance: float) -> Parity:
    """Compare logits over batches of 1, 2, an odd number and 32, lengths from 2 to ``longest``, padded and not.

    Raises:
        CompressError: a logit differs by more than ``tolerance``, or is not a number.
    """
    cases = list(_cases(vocabulary, longest))
    worst = 0.0
    with progress("parity", len(cases)) as advance:
        for feeds in cases:
            difference = float(np.abs(reference.run(feeds) - other.run(feeds)).max())
            if not difference <= tolerance:  # also catches NaN
                batch, length = feeds["input_ids"].shape
                raise CompressError(
                    f"export: a logit differs by {difference:.1e} from PyTorch's at batch {batch} x {length} tokens, "
                    f"{tolerance:.0e} is allowed; nothing was written, please report this model"
                )
            worst = max(worst, difference)
            advance(note=f"largest difference {worst:.1e}")
    return Parity(worst, len(cases))


def _cases(vocabulary: int, longest: int) -> Iterator[Feeds]:
    rng = np.random.default_rng(0)
    lengths = sorted({min(length, longest) for length in LENGTHS} | {longest})
    for batch in BATCHES:
        for length in lengths:
            ids = rng.integers(0, vocabulary, (batch, length))
            segments = (np.arange(length) >= rng.integers(1, length + 1, (batch, 1))).astype(np.int64)
            yield {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": segments}
            kept = (np.arange(length) < rng.integers(1, length + 1, (batch, 1))).astype(np.int64)
            yield {"input_ids": ids * kept, "attention_mask": kept, "token_type_ids": segments * kept}
