"""Data: reads texts, labels, task and splits from any source. Only ``bulk/``, which copies files, reads data files too.

:mod:`compress.data.read` is imported where it is called: the base install reads tables too, and lacks the packages that
the settings of a data set need.
"""

from compress.data.dataset import Dataset, Split, write_dataset
from compress.task import Task

__all__ = ["Dataset", "Split", "Task", "write_dataset"]
