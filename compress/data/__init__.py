"""Data: any source to texts, labels, task and splits. Nothing else in the package reads or writes a data file."""

from compress.data.dataset import Dataset, Split, Task
from compress.data.read import read_dataset, read_test
from compress.data.write import write_dataset

__all__ = ["Dataset", "Split", "Task", "read_dataset", "read_test", "write_dataset"]
