"""A worker answers requests, says why one failed, and always ends."""

import os
import signal
import sys
from pathlib import Path

import pytest
import torch

from compress.workers.process import Worker, WorkerError, is_out_of_memory


@pytest.fixture
def worker() -> Worker:
    return Worker("tests.workers.echo", threads=3)


def test_a_worker_finds_modules_where_its_parent_does_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a notebook, which looks into its own folder after the standard library."""
    (tmp_path / "beside_the_notebook.py").write_text("from tests.workers.echo import Echo, serve\nserve(Echo)\n")
    (tmp_path / "random.py").write_text("raise AssertionError('not the standard library')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)  # what holds the tests is then known from sys.path alone
    for module, more in (("tests.workers.echo", []), ("beside_the_notebook", [tmp_path, ""])):  # a Path finds nothing
        monkeypatch.setattr("sys.path", [*sys.path, *more])
        with Worker(module, threads=1) as worker:
            assert worker.ask(greeting="hello")["greeting"] == "hello"


def test_replies_are_kept_apart_from_what_is_printed(worker: Worker) -> None:
    with worker:
        assert worker.ask(greeting="hello") == {"greeting": "hello", "threads": "3"}
        for text in ("one", "\N{SNOWMAN}\nand more"):
            assert worker.ask(do="say", text=text) == {"said": f"hello {text}"}


def test_a_refusal_is_an_error_of_one_line(worker: Worker) -> None:
    with worker, pytest.raises(WorkerError, match=r"^refused: no such greeting$"):
        worker.ask(greeting="refuse")


def test_a_request_that_fails_for_memory_says_so_and_the_worker_goes_on(worker: Worker) -> None:
    with worker:
        worker.ask(greeting="hello")
        with pytest.raises(WorkerError, match=r"^out of memory \(MemoryError\)$"):
            worker.ask(do="fill_memory")
        with pytest.raises(WorkerError, match=r"^refused: not now$"):
            worker.ask(do="refuse")
        assert worker.ask(do="say", text="again") == {"said": "hello again"}


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ("crash", r"^IndexError: .* \(exit status 1\)$"),
        ("leave", r"\(exit status 3\)$"),
    ],
)
def test_a_worker_that_dies_leaves_its_last_line(worker: Worker, request_: str, reason: str) -> None:
    with worker:
        worker.ask(greeting="hello")
        for _ in range(2):  # the second finds nobody to ask
            with pytest.raises(WorkerError, match=reason):
                worker.ask(do=request_)


def test_a_worker_that_is_killed_has_probably_run_out_of_memory(worker: Worker) -> None:
    with worker:
        worker.ask(greeting="hello")
        os.kill(worker.session, signal.SIGKILL)
        with pytest.raises(WorkerError, match=r"^probably out of memory: .*signal 9"):
            worker.ask(do="say", text="?")


def test_half_a_reply_is_no_reply(worker: Worker) -> None:
    with worker:
        worker.ask(greeting="hello")
        with pytest.raises(WorkerError, match=r"^probably out of memory: .*signal 9"):
            worker.ask(do="die_while_replying")


def test_a_worker_that_can_no_longer_reply_is_ended(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compress.workers.process._GRACE_S", 0.2)
    with worker:
        worker.ask(greeting="hello")
        with pytest.raises(WorkerError, match=r"closed its output, and was ended 0\.2 s later$"):
            worker.ask(do="fall_silent")
        assert not Path(f"/proc/{worker.session}").exists()


def test_linux_ends_a_worker_before_any_other_process(worker: Worker) -> None:
    with worker:
        worker.ask(greeting="hello")
        assert Path(f"/proc/{worker.session}/oom_score_adj").read_text().strip() == "1000"


def test_a_worker_ends_with_its_block_whatever_it_is_doing(worker: Worker) -> None:
    with worker:
        assert Path(f"/proc/{worker.session}").exists()
    assert not Path(f"/proc/{worker.session}").exists()


def test_only_a_lack_of_memory_is_taken_for_one() -> None:
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(RuntimeError) as torchs:
        torch.empty(1 << 60)
    assert is_out_of_memory(torchs.value)
    assert is_out_of_memory(RuntimeError("could not create a primitive"))
    assert not is_out_of_memory(RuntimeError("could not create a primitive descriptor for a matmul primitive"))
    assert not is_out_of_memory(RuntimeError("shapes do not match"))
