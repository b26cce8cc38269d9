"""The tasks, what their names mean, and the metrics by which a model is judged."""

from typing import Literal, get_args

Task = Literal["single_label", "multi_label", "pair_single_label", "pair_multi_label"]
TASKS: tuple[str, ...] = get_args(Task)
Metric = Literal["accuracy", "macro_f1", "f1"]
METRICS: tuple[str, ...] = get_args(Metric)


def is_multi_label(task: str) -> bool:
    """Whether any number of labels may apply to a text, rather than exactly one."""
    return task.endswith("multi_label")


def reads_pairs(task: str) -> bool:
    """Whether the model reads two texts at a time."""
    return task.startswith("pair_")
