"""Processes that are forked from one that has loaded a model: onnxruntime's threads are not forked with it."""

import os
from ctypes import CDLL, py_object, pythonapi
from weakref import WeakSet

import onnxruntime as ort

_threaded: WeakSet[ort.InferenceSession] = WeakSet()


def keep_in_forks(session: ort.InferenceSession) -> None:
    """Let a forked process never take down this session, which has threads of its own."""
    _threaded.add(session)


def _outlive_fork() -> None:
    """Let a forked process end: onnxruntime, taken down there, waits for ever for threads that were not forked.

    Sessions with threads stay, and the process leaves without onnxruntime's own handlers, which abort it even where no
    session has threads. Python's have run by then.
    """
    for session in list(_threaded):
        pythonapi.Py_IncRef(py_object(session))
    system = CDLL(None)
    if hasattr(system, "on_exit"):  # glibc's: the last that is added is called first, with the exit status
        system.on_exit(system._exit, None)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_outlive_fork)
