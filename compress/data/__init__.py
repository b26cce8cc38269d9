"""Data: any source to texts, labels, task and splits. Only ``bulk/``, which copies files, reads data files as well."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from compress.data.dataset import Dataset as Dataset
    from compress.data.dataset import Split as Split
    from compress.data.dataset import Task as Task
    from compress.data.dataset import write_dataset as write_dataset
    from compress.data.read import read_dataset as read_dataset
    from compress.data.read import read_test as read_test

__all__ = ["Dataset", "Split", "Task", "read_dataset", "read_test", "write_dataset"]


def __getattr__(name: str) -> Any:
    # Lazy: the base install reads tables too, and has nothing of what the settings of a data set need.
    if name not in __all__:
        raise AttributeError(f"module 'compress.data' has no attribute {name!r}")
    module = "compress.data.read" if name.startswith("read") else "compress.data.dataset"
    return getattr(import_module(module), name)
