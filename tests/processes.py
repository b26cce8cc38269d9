"""Processes that tests start: ones that Ctrl-C reaches, and waiting for what they do."""

import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Any


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
