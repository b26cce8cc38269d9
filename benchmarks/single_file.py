"""How often a single file answers otherwise than the folder that it was made from, over whole test sets.

    python -m benchmarks.single_file --model runs/sst2/int8=../shared/data/sst2

Prints a row a model: texts, those with another label, those with another score, the largest difference of a score. The
texts that differ most go to stderr.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnxruntime as ort
from onnxruntime_extensions import get_library_path

import compress
from compress.config import DataConfig
from compress.data.read import read_dataset
from compress.runtime.encoding import Text

_SCORES_EQUAL = 1e-5
_AT_ONCE = 256


@dataclass(frozen=True)
class Difference:
    """A single file against the folder that it was made from."""

    texts: int
    other_label: int
    other_scores: int
    largest: float
    examples: tuple[Text, ...]


def compare(folder: Path, texts: Sequence[Text]) -> Difference:
    """Both answer all ``texts``, on one thread."""
    with TemporaryDirectory() as temporary:
        single = compress.export(folder, Path(temporary) / "single", single_file=True).folder
        options = ort.SessionOptions()
        options.register_custom_ops_library(get_library_path())
        options.intra_op_num_threads = 1
        session = ort.InferenceSession(single / "model.onnx", options, providers=["CPUExecutionProvider"])
    with compress.load(folder, threads=1) as classifier:
        expected = classifier(texts)
    labels, scores = _ask(session, texts)
    apart = np.abs(scores - np.array([list(answer.scores.values()) for answer in expected])).max(axis=1)
    return Difference(
        texts=len(texts),
        other_label=int(np.sum(labels != np.array([answer.label for answer in expected]))),
        other_scores=int(np.sum(apart > _SCORES_EQUAL)),
        largest=float(apart.max()),
        examples=tuple(texts[row] for row in np.argsort(-apart)[:3] if apart[row] > _SCORES_EQUAL),
    )


def _ask(session: ort.InferenceSession, texts: Sequence[Text]) -> tuple[np.ndarray, np.ndarray]:
    columns = [texts] if len(session.get_inputs()) == 1 else list(zip(*texts, strict=True))
    arrays = {
        value.name: np.array(column, dtype=object) for value, column in zip(session.get_inputs(), columns, strict=True)
    }
    batches = [
        session.run(["label", "scores"], {name: array[start : start + _AT_ONCE] for name, array in arrays.items()})
        for start in range(0, len(texts), _AT_ONCE)
    ]
    return np.concatenate([labels for labels, _ in batches]), np.concatenate([scores for _, scores in batches])


def main() -> None:
    """One row a model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", required=True, metavar="FOLDER=DATA")
    print("| model | test texts | another label | other scores | largest difference |\n|---|---|---|---|---|")
    for pair in parser.parse_args().model:
        folder, _, data = pair.partition("=")
        found = compare(Path(folder), read_dataset(DataConfig(data=data)).test.texts)
        print(f"| {folder} | {found.texts} | {found.other_label} | {found.other_scores} | {found.largest:.1g} |")
        for text in found.examples:
            print(f"  {ascii(text)[:200]}", file=sys.stderr)


if __name__ == "__main__":
    main()
