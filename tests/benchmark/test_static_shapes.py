"""CUDA graphs' static shapes, without a GPU: a replay here is a call on the same memory."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from compress.benchmark.backends.torch_modes import StaticShapes, bucket_of
from tests.tiny import make_bert, make_feeds, parts, torch_logits

Tensors = dict[str, torch.Tensor]


@pytest.mark.parametrize(
    ("batch", "length", "bucket"),
    [(1, 1, (1, 16)), (1, 16, (1, 16)), (1, 17, (1, 32)), (5, 33, (8, 48)), (1024, 100, (1024, 100)), (3, 65, (4, 96))],
)
def test_the_smallest_bucket_that_holds_it(batch: int, length: int, bucket: tuple[int, int]) -> None:
    assert bucket_of(batch, length, longest=100) == bucket


def test_padding_to_a_bucket_changes_no_answer_and_each_bucket_is_captured_once() -> None:
    model = make_bert(labels=3)
    captured: list[tuple[int, ...]] = []

    def capture(forward: Callable[[Tensors], torch.Tensor], inputs: Tensors) -> Callable[[], torch.Tensor]:
        captured.append(tuple(inputs["input_ids"].shape))
        return lambda: forward(inputs)

    shapes = StaticShapes(lambda tensors: parts(model)(**tensors).logits, 128, capture)
    for batch, length in [(1, 20), (3, 30), (1, 7), (4, 25), (3, 17)]:
        feeds = make_feeds(batch, length, padded=True)
        with torch.inference_mode():
            found = shapes({name: torch.from_numpy(array) for name, array in feeds.items()})
        np.testing.assert_allclose(found.numpy(), torch_logits(model, feeds), atol=1e-4)
    assert captured == [(1, 32), (4, 32), (1, 16)]


def test_rows_that_pad_a_batch_attend_to_something() -> None:
    seen: list[torch.Tensor] = []

    def capture(_: object, inputs: Tensors) -> Callable[[], torch.Tensor]:
        seen.append(inputs["attention_mask"])
        return lambda: torch.zeros(len(inputs["input_ids"]), 2)

    feeds = {name: torch.from_numpy(array) for name, array in make_feeds(3, 5).items()}
    assert StaticShapes(lambda _: torch.zeros(0), 128, capture)(feeds).shape == (3, 2)
    assert (seen[0].sum(dim=1) > 0).all()
