"""Class weights, by which rare labels count more in fine-tuning."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from compress.config.training import COUNTED_WEIGHTS
from compress.data.labels import label_name
from compress.errors import CompressError
from compress.formatting import some
from compress.paths import local_path

Weights = npt.NDArray[np.float32]

_LEAST, _MOST = 1e-6, 1e6  # bounds of a weight: beyond them float32 makes 0 or infinity of it


def class_weights(choice: str, targets: npt.NDArray[Any], labels: Sequence[str]) -> Weights:
    """The weight in the loss of the texts that have each label, float32 ``[labels]``.

    ``balanced`` lets all labels count alike (King and Zeng 2001): the weight is texts / (labels * texts of the label),
    or in multi-label tasks texts without the label / texts with it. ``sqrt`` takes the square root of that (as Mahajan
    et al. 2018 sample by it): with full weights a label of one text in 500 would be given far too often. A label
    without texts weighs 1. Any other ``choice`` is a JSON file with an object of weights by label.

    Args:
        choice: ``balanced``, ``sqrt`` or a file.
        targets: the train texts', as :meth:`compress.data.Split.targets` gives them.
        labels: the names of the labels, in the order of the targets.

    Raises:
        CompressError: the file cannot be read, or a weight is not from 1e-6 to 1e6, or belongs to no label of the data.
    """
    if choice not in COUNTED_WEIGHTS:
        return _read(local_path(choice), labels)
    if targets.ndim == 2:
        having = targets.sum(axis=0)
        weights = (len(targets) - having) / np.maximum(having, 1)
    else:
        having = np.bincount(targets, minlength=len(labels))
        weights = len(targets) / (len(labels) * np.maximum(having, 1))
    usable = (having > 0) & (having < len(targets))
    weights = np.where(usable, weights, 1.0)
    return (np.sqrt(weights) if choice == "sqrt" else weights).astype(np.float32)


def _read(path: Path, labels: Sequence[str]) -> Weights:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or "it is not JSON"
        raise CompressError(
            f"finetune.class_weights must be {', '.join(COUNTED_WEIGHTS)} or a file; {path}: {reason}"
        ) from None
    if not isinstance(content, dict):
        raise CompressError(f"{path}: must be an object of weights by label, such as {json.dumps({labels[0]: 2.0})}")
    weights = {label_name(label, str(path)): weight for label, weight in content.items()}
    for label, weight in weights.items():
        if label not in labels:
            raise CompressError(
                f'{path}: has the label "{label}", which the data does not have; give weights for its labels: '
                f"{some(labels)}"
            )
        number = isinstance(weight, int | float) and not isinstance(weight, bool)
        if not (number and _LEAST <= weight <= _MOST):
            got = f"{json.dumps(weight):.60}"
            raise CompressError(f'{path}: the weight of "{label}" must be a number from 1e-6 to 1e6, got {got}')
    return np.array([weights.get(label, 1.0) for label in labels], dtype=np.float32)
