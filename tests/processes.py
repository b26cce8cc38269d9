"""Processes that tests start: ones that Ctrl-C reaches, ones that find PyTorch imported, and waiting for them."""

import multiprocessing
import os
import resource
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

_PRELOADED = ["torch", "transformers.models.bert.modeling_bert", "accelerate", "compress.cli.main",
              "compress.steps.training", "compress.training.finetune", "compress.distillation.distill"]  # fmt: skip


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


def start_module(arguments: Sequence[str], told: Path, file_bytes: int = resource.RLIM_INFINITY) -> BaseProcess:
    """``python -m`` with these arguments; what it prints goes to ``told``, no file of it may exceed ``file_bytes``.

    It is forked from a process that has imported PyTorch and has done nothing else, which saves seconds a process.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    process = context.Process(target=_run_module, args=(list(arguments), told, dict(os.environ), file_bytes))
    process.start()
    return process


def _run_module(arguments: list[str], told: Path, environment: dict[str, str], file_bytes: int) -> None:
    os.environ.clear()
    os.environ.update(environment)
    written = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(written, 1)
    os.dup2(written, 2)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # as where a disk is full: an error, not a signal
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, resource.RLIM_INFINITY))
    sys.argv = arguments
    runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
