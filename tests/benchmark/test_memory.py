"""Batches that memory does not suffice for."""

import os
import resource
import signal
from pathlib import Path

import pytest
import torch
from compress.benchmark.workers.client import Worker
from compress.benchmark.workers.memory import is_out_of_memory

from compress.benchmark.interleave import WorkerPool, take_turns
from compress.benchmark.rows import Row
from compress.benchmark.workload import REAL, Times, Workload
from tests.benchmark.test_bench import TEXTS

HUGE = Workload(4096, 128)
ROOM_BYTES = 200_000_000


def limit_memory(worker: Worker) -> None:
    """Leave the worker room for little more than it holds."""
    told = Path(f"/proc/{worker.session}/statm").read_text()
    limit = int(told.split()[0]) * resource.getpagesize() + ROOM_BYTES
    resource.prlimit(worker.session, resource.RLIMIT_AS, (limit, limit))


@pytest.mark.parametrize("model", ["tiny_onnx", "tiny_torch"])
def test_a_batch_that_does_not_fit_is_skipped_and_the_next_load_is_measured(
    model: str, request: pytest.FixtureRequest
) -> None:
    side = Row(request.getfixturevalue(model))
    with WorkerPool({"small": side, "other": side}, 1) as pool:
        pool.each(Worker.opened)
        limit_memory(pool.workers[0])
        pool.workers[1].close()  # whatever else happens, it would take its minute with this batch
        pool.workers.pop()
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
        pool.each(Worker.opened)
        pool.each(lambda worker: worker.load(Workload(2, 8), TEXTS))
        os.kill(pool.workers[0].session, signal.SIGKILL)
        assert list(pool.each(lambda worker: worker.turn(2, 0.01))) == ["b"]
        assert "out of memory" in pool.rested()["a"]
        assert [worker.name for worker in pool.workers] == ["a", "b"]  # in their old order
        assert list(pool.each(lambda worker: worker.load(REAL, TEXTS))) == ["a", "b"]


def test_the_kernel_is_told_to_end_a_worker_before_anything_else(tiny_onnx: Path) -> None:
    with Worker("a", Row(tiny_onnx), 1) as worker:
        worker.opened()
        assert Path(f"/proc/{worker.session}/oom_score_adj").read_text().strip() == "1000"


def test_only_a_want_of_memory_is_taken_for_one() -> None:
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(RuntimeError) as torchs:
        torch.empty(1 << 60)
    assert is_out_of_memory(torchs.value)
    assert not is_out_of_memory(RuntimeError("shapes do not match"))
