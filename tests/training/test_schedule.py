"""The steps of a training: who reads what, and that a place among them can be found again."""

import numpy as np
import pytest

from compress.config import FinetuneConfig
from compress.training.batches import BatchSchedule

LENGTHS = np.random.default_rng(0).integers(2, 40, 300)


def plan(processes: int = 1, process: int = 0, **settings: float) -> BatchSchedule:
    return BatchSchedule(LENGTHS, FinetuneConfig.parse({"batch_size": 8, "epochs": 3, **settings}), processes, process)


def rows_of(steps: list[list[np.ndarray]]) -> list[int]:
    return [row for step in steps for batch in step for row in batch.tolist()]


def test_every_epoch_reads_every_text_once() -> None:
    one = plan()
    steps = list(one.after(0))
    assert len(steps) == one.steps == sum(one.epoch_steps)
    for epoch in range(3):
        start = sum(one.epoch_steps[:epoch])
        assert sorted(rows_of(steps[start : start + one.epoch_steps[epoch]])) == list(range(300))


@pytest.mark.parametrize("done", [1, 17, 40, 75])
def test_what_comes_after_a_step_is_what_would_have_come(done: int) -> None:
    whole, rest = list(plan().after(0)), list(plan().after(done))
    assert [rows_of([step]) for step in rest] == [rows_of([step]) for step in whole[done:]]
    assert list(plan().after(plan().steps)) == []


@pytest.mark.parametrize(("processes", "accumulation"), [(2, 1), (1, 3), (2, 2)])
def test_processes_and_accumulation_share_the_batches_of_an_epoch(processes: int, accumulation: int) -> None:
    shares = [plan(processes, process, gradient_accumulation=accumulation, epochs=1) for process in range(processes)]
    assert len({share.steps for share in shares}) == 1
    assert shares[0].steps == -(-plan(epochs=1).steps // (processes * accumulation))
    read = [list(share.after(0)) for share in shares]
    assert all(len(step) == accumulation for steps in read for step in steps)
    counts = np.bincount([row for steps in read for row in rows_of(steps)], minlength=300)
    assert counts.min() == 1  # nobody is left out, and what fills the last step comes from the epoch's start
    assert (counts > 1).sum() < 300 / 5


@pytest.mark.parametrize(("processes", "accumulation"), [(1, 1), (2, 1), (1, 3), (2, 2)])
@pytest.mark.parametrize("epochs", [0.001, 0.3, 0.9])
def test_a_part_of_an_epoch_reads_such_a_part_of_the_texts_and_a_longer_one_the_same_and_more(
    epochs: float, processes: int, accumulation: int
) -> None:
    settings = {"gradient_accumulation": accumulation}
    part = plan(processes, epochs=epochs, **settings)
    longer = plan(processes, epochs=min(1.0, epochs + 0.2), **settings)
    shares = [plan(processes, process, epochs=epochs, **settings) for process in range(processes)]
    read = {row for share in shares for row in rows_of(list(share.after(0)))}
    assert read == set(part.rows.tolist())
    step_tokens = LENGTHS.mean() * 8 * processes * accumulation  # padding included
    assert LENGTHS[list(read)].sum() == pytest.approx(epochs * LENGTHS.sum(), rel=0.1, abs=2 * step_tokens)
    assert read < set(longer.rows.tolist())


@pytest.mark.parametrize("epochs", [0.1, 0.2, 0.7, 1.1, 2.3])
def test_a_part_has_no_step_more_than_its_share(epochs: float) -> None:
    """1.1 - 1 is a little more than 0.1."""
    alike = np.full(80, 10)
    config = FinetuneConfig.parse({"batch_size": 8, "epochs": epochs})
    assert BatchSchedule(alike, config).steps == round(10 * epochs)


def test_after_whole_epochs_comes_the_part_of_one() -> None:
    steps = plan(epochs=2.5).epoch_steps
    assert steps[:2] == plan(epochs=2).epoch_steps
    assert steps[2] == -(-plan(epochs=3).epoch_steps[2] // 2)
    assert plan(epochs=2.5).rows.tolist() == list(range(300))


def test_a_batch_holds_as_many_texts_as_was_asked_for_on_average() -> None:
    assert plan().texts_per_batch == pytest.approx(8, rel=0.15)
