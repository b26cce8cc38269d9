"""Ctrl-C after minutes of measuring: it waits until the report is written."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from compress.progress import say


@contextmanager
def ctrl_c_waits() -> Iterator[threading.Event]:
    """Let the first Ctrl-C in the body only set the event, and say so; the third ends it as ever.

    A second one is often meant for the first, and what is left to do takes seconds.

    Where Ctrl-C does not raise KeyboardInterrupt, or not here, as in other threads, nothing changes.
    """
    came = threading.Event()

    def note(*_: object) -> None:
        if came.is_set():
            signal.signal(signal.SIGINT, signal.default_int_handler)
        else:
            came.set()
            say("interrupted: the report is written first, which takes seconds; Ctrl-C twice more ends at once")

    here = threading.current_thread() is threading.main_thread()
    if not here or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield came
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield came
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
