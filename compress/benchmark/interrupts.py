"""Ctrl-C after minutes of measuring: it waits until the report is written."""

import signal
import threading
from types import FrameType
from typing import Self


class CtrlC:
    """Inside the ``with`` block, once :meth:`wait` was called, Ctrl-C only sets ``came``.

    Where Ctrl-C does not raise KeyboardInterrupt, or not here, as in other threads, nothing changes.
    """

    def __init__(self) -> None:
        self.came = False
        self._waits = False

    def wait(self) -> None:
        """Let Ctrl-C wait from now on."""
        here = threading.current_thread() is threading.main_thread()
        if here and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._waits = True
            signal.signal(signal.SIGINT, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.came = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._waits:
            signal.signal(signal.SIGINT, signal.default_int_handler)
