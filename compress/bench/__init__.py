"""Accuracy, latency and size of model folders, side by side, and the report that shows them.

``bench`` and ``write_report`` are loaded when they are asked for: a worker process needs neither.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from compress.bench.accuracy import Accuracy
    from compress.bench.latency import Latency
    from compress.bench.measure import bench
    from compress.bench.report import write_report

__all__ = ["Accuracy", "Latency", "bench", "write_report"]

_HOMES = {"Accuracy": "accuracy", "Latency": "latency", "bench": "measure", "write_report": "report"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'compress.bench' has no attribute {name!r}")
    return getattr(import_module(f"compress.bench.{_HOMES[name]}"), name)
