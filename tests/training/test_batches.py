"""The order in which examples come, and the tensors that they become."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch

from compress.modeling.states import Batch, States
from compress.runtime.encoding import Encoding
from compress.training.batches import Encodings, Examples, LengthBatches


def lengths_of(count: int, seed: int = 0) -> npt.NDArray[np.int64]:
    return np.random.default_rng(seed).integers(2, 60, count)


def examples(count: int, labelled: int | None = None) -> Examples:
    """The ids of a row are its number + 5, its last token is of the second segment, its target is its number."""
    encodings = [Encoding([row + 5] * n, [0] * (n - 1) + [1]) for row, n in enumerate(lengths_of(count).tolist())]
    return Examples(Encodings.pack(encodings), np.arange(count if labelled is None else labelled))


def order(batches: LengthBatches, epoch: int) -> list[list[int]]:
    return [rows.tolist() for rows in batches.epoch(epoch)]


def test_packed_texts_are_the_texts() -> None:
    whole = [Encoding([1, 2, 3], [0, 0, 1]), Encoding([4], [0]), Encoding([2**17, 6], [1, 1])]
    packed = Encodings.pack(whole)
    assert list(packed) == whole
    assert packed.lengths.tolist() == [3, 1, 2]
    assert len(Encodings.pack([])) == 0


@pytest.mark.parametrize(("count", "batch_size"), [(1, 4), (7, 8), (64, 8), (1003, 16)])
def test_every_row_comes_once_an_epoch(count: int, batch_size: int) -> None:
    batches = LengthBatches(lengths_of(count), batch_size, seed=0)
    for epoch in range(3):
        assert sorted(row for batch in order(batches, epoch) for row in batch) == list(range(count))


def test_no_batch_is_over_the_budget_and_all_but_a_few_fill_it() -> None:
    lengths = lengths_of(2000)
    batches = LengthBatches(lengths, 16, seed=0)
    assert batches.batch_tokens == pytest.approx(16 * lengths.mean(), rel=0.01)
    padded = np.array([len(rows) * lengths[rows].max() for rows in batches.epoch(0)])
    assert padded.max() <= batches.batch_tokens
    assert np.median(padded) > 0.9 * batches.batch_tokens
    counts = [len(rows) for rows in batches.epoch(0)]
    assert max(counts) > 5 * min(counts)  # many short texts weigh as much as a few long ones


def test_one_long_text_does_not_swell_the_other_batches() -> None:
    lengths = np.array([20] * 500 + [512])
    counts = sorted(len(rows) for rows in LengthBatches(lengths, 8, seed=0).epoch(0))
    assert counts[0] == 1  # the long one alone
    assert set(counts[-50:]) == {8}


def test_a_text_longer_than_the_budget_still_comes() -> None:
    lengths = np.array([2] * 30 + [500])
    assert sorted(row for rows in order(LengthBatches(lengths, 4, seed=0), 0) for row in rows) == list(range(31))


def test_seed_and_epoch_decide_the_order() -> None:
    one, again, other = (LengthBatches(lengths_of(200), 8, seed) for seed in (3, 3, 4))
    assert order(one, 0) == order(again, 0)
    assert order(one, 1) == order(again, 1)
    assert order(one, 0) != order(one, 1)
    assert order(one, 0) != order(other, 0)


def test_epochs_mix_rows_anew_and_lengths_come_in_no_order() -> None:
    lengths = lengths_of(800)
    batches = LengthBatches(lengths, 8, seed=0)
    first, second = ({frozenset(batch) for batch in order(batches, epoch)} for epoch in (0, 1))
    assert len(first & second) < len(first) / 10
    longest = [lengths[rows].max() for rows in batches.epoch(0)]
    assert abs(np.corrcoef(longest, np.arange(len(longest)))[0, 1]) < 0.3  # no curriculum by length


def test_lengths_within_a_batch_are_alike() -> None:
    lengths = lengths_of(1000)

    def padding(batches: Sequence[npt.NDArray[np.int64]]) -> int:
        return sum(int((lengths[rows].max() - lengths[rows]).sum()) for rows in batches)

    shuffled = np.random.default_rng(0).permutation(1000).reshape(-1, 20)
    assert padding(LengthBatches(lengths, 20, seed=0).epoch(0)) < padding(list(shuffled)) / 10


def test_batches_are_padded_tensors_with_targets_and_answers_of_the_same_rows() -> None:
    def answers(rows: Sequence[int], batch: Batch) -> States:
        return {"logits": 2.0 * torch.tensor(rows), "hidden.0": batch["input_ids"].float()}

    data = replace(examples(50), teacher=answers)
    for rows in order(LengthBatches(data.encodings.lengths, 8, seed=0), 0):
        batch = data.batch(rows)
        numbers = torch.tensor(rows)
        longest = max(len(data.encodings[row]) for row in rows)
        for name in ("input_ids", "attention_mask", "token_type_ids"):
            assert batch[name].shape == (len(rows), longest)
            assert batch[name].dtype == torch.int64
        assert torch.equal(batch["targets"], numbers)
        assert torch.equal(batch["input_ids"][:, 0], numbers + 5)
        assert batch["attention_mask"].sum(dim=1).tolist() == [len(data.encodings[row]) for row in rows]
        assert torch.equal(batch["input_ids"] != 0, batch["attention_mask"] == 1)
        assert batch["token_type_ids"].sum(dim=1).tolist() == [1] * len(rows)
        assert torch.equal(batch["teacher.logits"], 2.0 * numbers)
        assert torch.equal(batch["teacher.hidden.0"], batch["input_ids"].float())


def test_texts_after_the_labelled_ones_say_that_they_have_no_label() -> None:
    batch = examples(6, labelled=4).batch([5, 1, 4, 3])
    assert batch["labelled"].tolist() == [False, True, False, True]
    assert batch["targets"][batch["labelled"]].tolist() == [1, 3]


def test_multi_label_targets_stay_float_and_there_are_no_answers_without_a_teacher() -> None:
    batch = Examples(examples(6).encodings, np.eye(6, 3, dtype=np.float32)).batch([2, 0])
    assert batch["targets"].tolist() == [[0, 0, 1], [1, 0, 0]]
    assert batch["targets"].dtype == torch.float32
    assert not any(name.startswith("teacher.") for name in batch)
