"""The tasks, and what their names say."""

TASKS = ("single_label", "multi_label", "pair_single_label", "pair_multi_label")


def is_multi_label(task: str) -> bool:
    """Whether any number of labels may apply to a text, rather than exactly one."""
    return task.endswith("multi_label")


def reads_pairs(task: str) -> bool:
    """Whether the model reads two texts at a time."""
    return task.startswith("pair_")
