"""Data: any source to texts, labels, task and splits. Nothing else in the package reads or writes a data file."""

from compress.data.dataset import Dataset, Split, Task, write_dataset
from compress.data.read import read_dataset, read_test

__all__ = ["Dataset", "Split", "Task", "read_dataset", "read_test", "write_dataset"]
