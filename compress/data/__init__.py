"""Data: any source to texts, labels, task and splits. Only ``bulk/``, which copies files, reads data files as well.

:mod:`compress.data.read` is imported where it is called: the base install reads tables too, and has nothing of what the
settings of a data set need.
"""

from compress.data.dataset import Dataset, Split, write_dataset
from compress.task import Task

__all__ = ["Dataset", "Split", "Task", "write_dataset"]
