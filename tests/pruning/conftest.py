"""A BERT whose layers differ in width, and texts to judge its units by."""

from pathlib import Path

import pytest

from compress.modeling.checkpoint import Checkpoint
from compress.training.batches import Examples
from compress.training.finetune import encode
from tests.tiny import make_bert, make_checkpoint, read

HEADS, NEURONS = (4, 0, 2, 3), (128, 64, 0, 32)


@pytest.fixture
def uneven(tiny_encoder: Path) -> Checkpoint:
    return make_checkpoint(tiny_encoder, make_bert(HEADS, NEURONS), ("negative", "positive"))


@pytest.fixture
def sample(uneven: Checkpoint, tiny_data: Path) -> Examples:
    return encode(uneven, read(tiny_data).validation)
