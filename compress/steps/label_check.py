"""A model's labels and its data's must be the same."""

from typing import TYPE_CHECKING

from compress.errors import CompressError

if TYPE_CHECKING:
    from compress.data import Dataset
    from compress.folder import Manifest
    from compress.modeling.checkpoint import Checkpoint


def check_labels(model: "Checkpoint | Manifest", dataset: "Dataset", name: str = "") -> None:
    """A model's task and label set must be the data's; the order may differ, answers are matched by name."""
    name = name or getattr(model, "source", "")
    if model.task != dataset.task:
        raise CompressError(
            f"{name}: is for {model.task} tasks, but the data is {dataset.task}; give the data it was trained on"
        )
    lacking, unknown = sorted(set(model.labels) - set(dataset.labels)), sorted(set(dataset.labels) - set(model.labels))
    if lacking or unknown:
        raise CompressError(
            f"{name}: its labels are not the data's; only the model has {_some(lacking)}, "
            f"only the data has {_some(unknown)}; "
            "give the data it was trained on, or name the columns with --text and --label"
        )


def _some(names: list[str], most: int = 5) -> str:
    return (
        ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "") if names else "none"
    )
