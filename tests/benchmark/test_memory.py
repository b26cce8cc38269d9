"""Batches that need more memory than there is."""

import os
import resource
import signal
from pathlib import Path

import pytest

from compress.benchmark.interleave import WorkerPool, take_turns
from compress.benchmark.model_worker import ModelWorker
from compress.benchmark.rows import Row
from compress.benchmark.workload import REAL, Times, Workload
from tests.benchmark.test_bench import TEXTS

HUGE = Workload(4096, 128)
ROOM_BYTES = 200_000_000


def limit_memory(worker: ModelWorker) -> None:
    """Leave the worker room for little more than it holds."""
    told = Path(f"/proc/{worker.session}/statm").read_text()
    limit = int(told.split()[0]) * resource.getpagesize() + ROOM_BYTES
    resource.prlimit(worker.session, resource.RLIMIT_AS, (limit, limit))


@pytest.mark.usefixtures("forked_workers")
@pytest.mark.parametrize("model", ["tiny_onnx", "tiny_torch"])
def test_a_batch_that_does_not_fit_is_skipped_and_the_next_load_is_measured(
    model: str, request: pytest.FixtureRequest
) -> None:
    row = Row(request.getfixturevalue(model))
    with WorkerPool({"small": row}, 1) as pool:
        pool.each(ModelWorker.open)
        limit_memory(pool.workers[0])
        rounds_ms: dict[str, list[Times]] = {}
        take_turns(pool, HUGE, TEXTS, 0.1, lambda _: None, rounds_ms)
        assert rounds_ms == {}
        reasons = pool.rested()
        assert list(reasons) == ["small"]
        assert "memory" in reasons["small"]
        assert pool.failed == {}
        take_turns(pool, Workload(2, 8), TEXTS, 0.1, lambda _: None, rounds_ms)
        assert list(rounds_ms) == ["small"]


def test_a_worker_killed_in_a_batch_rests_and_the_others_go_on(tiny_onnx: Path) -> None:
    with WorkerPool({"a": Row(tiny_onnx), "b": Row(tiny_onnx)}, 1) as pool:
        pool.each(ModelWorker.open)
        pool.each(lambda worker: worker.prepare(Workload(2, 8), TEXTS))
        os.kill(pool.workers[0].session, signal.SIGKILL)
        assert list(pool.each(lambda worker: worker.turn(2, 0.01))) == ["b"]
        assert "out of memory" in pool.rested()["a"]
        assert [worker.name for worker in pool.workers] == ["a", "b"]  # in their old order
        assert list(pool.each(lambda worker: worker.prepare(REAL, TEXTS))) == ["a", "b"]
