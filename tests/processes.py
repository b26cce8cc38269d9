"""Processes that tests start: ones that Ctrl-C reaches, ones that find PyTorch imported, and waiting for them."""

import multiprocessing
import os
import resource
import runpy
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from multiprocessing import resource_tracker, util
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from multiprocessing.forkserver import ensure_running
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import IO, Any

PRELOADED = ["torch", "transformers.models.bert.modeling_bert", "accelerate", "compress.cli.main",
              "compress.steps.training", "compress.training.finetune", "compress.distillation.distill",
              "compress.benchmark.backends.torch_modes", "compress.runtime.session", "compress.serving.server",
              "tests.freeze"]  # fmt: skip


# A program for ``python -c``: JSON lists of the command's arguments in, its status, stdout and stderr for each out.
# What it imports is imported once.
COMMANDS_IN_FORKS = """
import json, os, sys, tempfile
from compress.cli.main import main

def ended(arguments):
    files = [tempfile.TemporaryFile("w+") for _ in range(2)]
    if (child := os.fork()) == 0:
        for stream, file in enumerate(files, start=1):
            os.dup2(file.fileno(), stream)
        sys.exit(main(arguments))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return [status, *(file.seek(0) or file.read() for file in files)]

print(json.dumps([ended(arguments) for arguments in json.loads(sys.argv[1])]))
"""


def memory_folder() -> str | None:
    """For temporary folders, where memory has room for them: a step waits for a disk a dozen times, 10 ms each.

    None, which is the usual place, where the user has chosen one or ``/dev/shm`` is not for files that run.
    """
    memory = "/dev/shm"
    if "TMPDIR" in os.environ or not os.access(memory, os.W_OK):
        return None
    about = os.statvfs(memory)
    for_programs = not about.f_flag & (os.ST_RDONLY | os.ST_NOEXEC)
    return memory if for_programs and about.f_bavail * about.f_frsize > 4e9 else None


def start_interruptible(command: Sequence[str], **options: Any) -> "subprocess.Popen[str]":
    """A process that Ctrl-C ends also where the tests themselves ignore it: in the background, or under nohup."""

    def heed_ctrl_c() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    return subprocess.Popen(command, text=True, preexec_fn=heed_ctrl_c, **options)  # noqa: PLW1509


def wait_until(condition: Callable[[], bool], at_most_s: float = 60.0) -> None:
    """Poll until ``condition`` holds."""
    deadline = time.monotonic() + at_most_s
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


def in_fork(work: Callable[[], int], told: Path, at_end: Callable[[], object] = lambda: None) -> int:
    """The number of a fork of this process that ends with the status of ``work``; its stderr goes to ``told``.

    ``at_end`` is called in it whatever happened. Nothing needs to be imported again there.
    """
    child = os.fork()
    if child == 0:
        status = 99
        try:
            os.dup2(os.open(told, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            status = work()
        except BaseException:  # noqa: BLE001 - as Python's own end
            os.write(2, traceback.format_exc().encode())
        finally:
            at_end()
            os._exit(status)
    return child


def forget(*packages: str) -> None:
    """Import these anew from now on, as a fresh process would: for a fork, which is spared what they import."""
    for name in [name for name in sys.modules if name.partition(".")[0] in packages]:
        del sys.modules[name]


def start_module(
    arguments: Sequence[str], told: Path, file_bytes: int = resource.RLIM_INFINITY, printed: Path | None = None
) -> BaseProcess:
    """``python -m`` with these arguments; no file of it may exceed ``file_bytes``.

    What it prints goes to ``told``, or its stdout to ``printed`` where that is given. It is forked from a process that
    has imported PyTorch and has done nothing else, which saves seconds a process.
    """
    process = _server().Process(
        target=_run_module, args=(list(arguments), told, printed or told, dict(os.environ), file_bytes)
    )
    process.start()
    return process


def start_server() -> None:
    """Start what the other processes are forked from, and stays, now."""
    _server()
    ensure_running()


def fork_server() -> None:
    """Start it as a fork of this process, which imports for both; for one that has one CPU and has done nothing yet."""
    for name in PRELOADED:
        import_module(name)
    resource_tracker.ensure_running()  # a process of its own, as ever
    spawn = util.spawnv_passfds
    util.spawnv_passfds = _fork_passfds  # type: ignore[assignment]  # its stub is vaguer than its callers
    try:
        start_server()
    finally:
        util.spawnv_passfds = spawn


def _fork_passfds(_: str, command: Sequence[str], kept: Sequence[int]) -> int:
    """What multiprocessing starts as ``python -c``, with the same files open, in a fork."""
    if child := os.fork():
        return child
    for number in [int(each.name) for each in Path("/proc/self/fd").iterdir()]:
        if number > 2 and number not in kept:
            with suppress(OSError):  # the listing's own
                os.close(number)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - pytest's own lead to closed files
    sys.stderr = open(2, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115
    status = 1
    try:
        with suppress(SystemExit):  # so it ends when its parent has
            exec(command[-1], {})
        status = 0
    except BaseException:  # noqa: BLE001 - as Python's own end
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(status)


class ForkedWorker:
    """What :class:`compress.workers.process.Worker` needs of a ``Popen``, forked as :func:`start_module` does."""

    def __init__(self, module: str, environment: dict[str, str], stderr: IO[bytes]) -> None:
        context = _server()
        ours, theirs = context.Pipe()
        told = Path(f"/proc/{os.getpid()}/fd/{stderr.fileno()}")
        self._process = context.Process(target=_run_worker, args=(module, environment, theirs, told))
        self._process.start()
        theirs.close()
        assert self._process.pid is not None
        self.pid = self._process.pid
        self.stdin = os.fdopen(os.dup(ours.fileno()), "w", encoding="utf-8")
        self.stdout = os.fdopen(os.dup(ours.fileno()), encoding="utf-8")
        ours.close()

    def kill(self) -> None:
        self._process.kill()

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        assert self._process.exitcode is not None
        return self._process.exitcode

    def communicate(self) -> None:
        self.wait()
        self.stdout.close()
        with suppress(BrokenPipeError):
            self.stdin.close()


def _server() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


def _run_worker(module: str, environment: dict[str, str], pipe: Connection, told: Path) -> None:
    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    sys.stdin = os.fdopen(os.dup(pipe.fileno()), encoding="utf-8")
    os.dup2(pipe.fileno(), 1)
    pipe.close()
    os.dup2(os.open(told, os.O_WRONLY | os.O_APPEND), 2)
    from compress.workers import timing  # not before torch has counted its CPUs

    timing._UNTIMED_S = 0.0
    runpy.run_module(module, run_name="__main__")


def _run_module(arguments: list[str], told: Path, printed: Path, environment: dict[str, str], file_bytes: int) -> None:
    os.environ.clear()
    os.environ.update(environment)
    for stream, file in ((1, printed), (2, told)):
        file.write_bytes(b"")
        os.dup2(os.open(file, os.O_WRONLY | os.O_APPEND), stream)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the tests themselves ignore Ctrl-C
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # as where a disk is full: an error, not a signal
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, resource.RLIM_INFINITY))
    sys.argv = arguments
    runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
