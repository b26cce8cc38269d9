"""Processes forked from one that has loaded a model, in which onnxruntime's threads are missing."""

import os
from ctypes import CDLL, py_object, pythonapi
from weakref import WeakSet

import onnxruntime as ort

_threaded: WeakSet[ort.InferenceSession] = WeakSet()


def keep_in_forks(session: ort.InferenceSession) -> None:
    """Keep forked processes from destroying this session, which has threads of its own."""
    _threaded.add(session)


def _outlive_fork() -> None:
    """Let a forked process end: there, destroying a session waits for ever for threads that were not forked.

    Sessions with threads are never destroyed, and the process exits without onnxruntime's own exit handlers, which
    abort it even if no session has threads. Python's handlers have run by then.
    """
    for session in list(_threaded):
        pythonapi.Py_IncRef(py_object(session))
    system = CDLL(None)
    if hasattr(system, "on_exit"):  # in glibc; the handler that is added last runs first, with the exit status
        system.on_exit(system._exit, None)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_outlive_fork)
