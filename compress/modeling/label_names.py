"""The names of a model's labels and its task, as a Hugging Face config has them; read without PyTorch."""

from typing import Any

from compress.data.labels import indicator_name, spelled
from compress.errors import CompressError
from compress.formatting import some

_MULTI_LABEL = "multi_label_classification"


def labels_of(config: Any, source: str) -> tuple[str, ...]:
    """Label names in the order of the logits; the placeholders LABEL_0, LABEL_1 stand for the data's 0, 1.

    A multi-label model's placeholders stand for ``label_0``, ``label_1``, the names of labels in rows of 0 and 1.

    Raises:
        CompressError: the config does not name each logit once, or names it in two ways.
    """
    names: dict[int, Any] = config.id2label
    if sorted(names) != list(range(len(names))):
        numbers = some([str(number) for number in sorted(names)])
        raise CompressError(
            f"{source}: config.json's id2label names the logits {numbers}, but they are numbered from 0 "
            f"to {len(names) - 1}; correct id2label and label2id there"
        )
    labels = tuple(spelled(str(names[index])) for index in range(len(names)))
    if len(set(labels)) < len(labels):
        twice = next(label for label in labels if labels.count(label) > 1)
        raise CompressError(f"{source}: config.json's id2label has {twice!r} twice; give each logit a name of its own")
    for name, index in (config.label2id or {}).items():
        if (label := spelled(str(name))) in labels and str(index).removesuffix(".0") != str(labels.index(label)):
            raise CompressError(
                f"{source}: config.json's id2label and label2id disagree, the latter says that {name!r} is {index}; "
                "correct the wrong one"
            )
    if all(label == f"LABEL_{index}" for index, label in enumerate(labels)):
        name = indicator_name if config.problem_type == _MULTI_LABEL else str
        return tuple(map(name, range(len(labels))))
    return labels


def task_of(config: Any) -> str:
    """The task; a lone label, such as a reranker's, makes it multi-label, as a softmax would always be sure of it."""
    several = config.problem_type == _MULTI_LABEL or len(config.id2label) == 1
    return "multi_label" if several else "single_label"
