"""check, which holds a new model to an old one."""

from pathlib import Path
from typing import Any

from compress.config import CheckConfig
from compress.paths import local_path
from compress.steps.step import split_settings


def check(new: str | Path, against: str | Path, data: str | Path, **settings: Any) -> dict[str, Any]:
    """Whether the model ``new`` may take the place of ``against``, by their answers to the test split.

    Args:
        new: a classifier: a folder of ours, a Hugging Face folder or hub id, or an ONNX file of another program with
            its tokenizer and config.json.
        against: the one in use; of the same kinds.
        data: texts and labels, as for :func:`compress.finetune`.
        **settings: those of :class:`compress.config.CheckConfig`, and of the data.

    Returns:
        The document that ``compress check --json FILE`` writes; ``passed`` is the verdict.
    """
    source, own = split_settings(settings, data)
    config = CheckConfig.parse(own)
    from compress.data import read_test
    from compress.decisions.check import check as core

    test, task = read_test(source)
    return core(local_path(new), local_path(against), test, task, config)
