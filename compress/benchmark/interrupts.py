"""Ctrl-C after minutes of measuring waits until the report is written."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from compress.progress import say


@contextmanager
def ctrl_c_waits() -> Iterator[threading.Event]:
    """The first Ctrl-C in the body sets the event and says so, the second does nothing, the third interrupts.

    The second is often only impatience with the first, and the rest takes seconds. Outside the main thread, and where
    a program has its own handler of Ctrl-C, nothing changes.
    """
    interrupted = threading.Event()

    def note(*_: object) -> None:
        if interrupted.is_set():
            signal.signal(signal.SIGINT, signal.default_int_handler)
        else:
            interrupted.set()
            say("interrupted: the report is written first, which takes seconds; Ctrl-C twice more ends at once")

    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield interrupted
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
