"""Splits as JSONL files that :func:`compress.data.read_dataset` reads back to the same data set."""

import json
from pathlib import Path

from compress.data.dataset import Dataset, Split
from compress.errors import CompressError
from compress.task import is_multi_label


def write_dataset(dataset: Dataset, folder: Path) -> None:
    """Write ``train.jsonl``, ``validation.jsonl`` and ``test.jsonl`` into ``folder``.

    Raises:
        CompressError: the folder cannot be written.
    """
    splits = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, split in splits.items():
            (folder / f"{name}.jsonl").write_text(_jsonl(split, dataset.task), encoding="utf-8", newline="\n")
    except OSError as error:
        raise CompressError(f"{folder}: {error.strerror}; choose a folder that can be written") from None


def _jsonl(split: Split, task: str) -> str:
    lines = []
    for text, labels in zip(split.texts, split.labels, strict=True):
        row = {"text": text} if isinstance(text, str) else {"text": text[0], "text_pair": text[1]}
        answer = {"labels": labels} if is_multi_label(task) else {"label": labels[0]}
        lines.append(json.dumps(row | answer, ensure_ascii=False) + "\n")
    return "".join(lines)
