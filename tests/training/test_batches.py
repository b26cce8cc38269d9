"""The order in which examples come, and the tensors that they become."""

import numpy as np
import pytest
import torch

from compress.runtime.encoding import Encoding
from compress.training.batches import Examples, LengthBatches, loader


def examples(count: int, seed: int = 0) -> Examples:
    lengths = np.random.default_rng(seed).integers(2, 60, count).tolist()
    encodings = [Encoding([row + 5] * length, [0] * (length - 1) + [1]) for row, length in enumerate(lengths)]
    return Examples(encodings, np.arange(count))


def order(sampler: LengthBatches, epoch: int) -> list[list[int]]:
    sampler.set_epoch(epoch)
    return list(sampler)


@pytest.mark.parametrize(("count", "batch_size"), [(1, 4), (7, 8), (64, 8), (1003, 16)])
def test_every_row_comes_once_an_epoch(count: int, batch_size: int) -> None:
    sampler = LengthBatches(examples(count), batch_size, seed=0)
    for epoch in range(3):
        batches = order(sampler, epoch)
        assert sorted(row for batch in batches for row in batch) == list(range(count))
        assert len(batches) == len(sampler)
        assert max(map(len, batches)) <= batch_size


def test_seed_and_epoch_decide_the_order() -> None:
    data = examples(200)
    one, again, other = (LengthBatches(data, 8, seed) for seed in (3, 3, 4))
    assert order(one, 0) == order(again, 0)
    assert order(one, 1) == order(again, 1)
    assert order(one, 0) != order(one, 1)
    assert order(one, 0) != order(other, 0)


def test_epochs_mix_rows_anew_and_lengths_come_in_no_order() -> None:
    sampler = LengthBatches(examples(800), 8, seed=0)
    first, second = ({frozenset(batch) for batch in order(sampler, epoch)} for epoch in (0, 1))
    assert len(first & second) < len(first) / 10
    data = examples(800)
    longest = [max(len(data.encodings[row]) for row in batch) for batch in order(sampler, 0)]
    assert abs(np.corrcoef(longest, np.arange(len(longest)))[0, 1]) < 0.3  # no curriculum by length


def test_lengths_within_a_batch_are_alike() -> None:
    data = examples(1000)
    lengths = np.array([len(encoding) for encoding in data.encodings])

    def padding(batches: list[list[int]]) -> int:
        return sum(int((lengths[batch].max() - lengths[batch]).sum()) for batch in batches)

    shuffled = np.random.default_rng(0).permutation(1000).reshape(-1, 20).tolist()
    assert padding(order(LengthBatches(data, 20, seed=0), 0)) < padding(shuffled) / 10


def test_batches_are_padded_tensors_with_targets_of_the_same_rows() -> None:
    data = examples(50).with_teacher(np.arange(100, dtype=np.float32).reshape(50, 2))
    seen = []
    for batch in loader(data, LengthBatches(data, 8, seed=0)):
        rows = batch["targets"]
        longest = max(len(data.encodings[row]) for row in rows.tolist())
        for name in ("input_ids", "attention_mask", "token_type_ids"):
            assert batch[name].shape == (len(rows), longest)
            assert batch[name].dtype == torch.int64
        assert rows.dtype == torch.int64
        assert torch.equal(batch["input_ids"][:, 0], rows + 5)  # the ids of a row are its number + 5
        assert batch["attention_mask"].sum(dim=1).tolist() == [len(data.encodings[row]) for row in rows.tolist()]
        assert torch.equal(batch["input_ids"] != 0, batch["attention_mask"] == 1)
        assert batch["token_type_ids"].sum(dim=1).tolist() == [1] * len(rows)
        assert batch["teacher_logits"].dtype == torch.float32
        assert torch.equal(batch["teacher_logits"][:, 0], 2.0 * rows)
        seen += rows.tolist()
    assert sorted(seen) == list(range(50))


def test_multi_label_targets_stay_float_and_there_are_no_teacher_logits_without_a_teacher() -> None:
    data = Examples(examples(6).encodings, np.eye(6, 3, dtype=np.float32))
    (batch,) = loader(data, LengthBatches(data, 8, seed=0))
    assert batch["targets"].dtype == torch.float32
    assert batch["targets"].shape == (6, 3)
    assert "teacher_logits" not in batch
