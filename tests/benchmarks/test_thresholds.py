"""The figures of thresholds by label are those of the answers that a calibrated folder gives."""

from pathlib import Path

import pytest
from sklearn.metrics import f1_score

import compress
from benchmarks.thresholds import measure
from compress.errors import CompressError
from compress.evaluation.metrics import truth
from tests.decisions.test_calibrate import TOPICS, thresholded, topics
from tests.tiny import read

__all__ = ["thresholded", "topics"]  # fixtures


def test_the_figures_are_those_of_what_the_folder_answers(thresholded: Path, topics: Path) -> None:
    found, test = measure(thresholded, str(topics)), read(topics).test
    with compress.load(thresholded, threads=1) as classifier:
        answers = classifier(test.texts)
    true = truth(test.targets(TOPICS, "multi_label"), 3)
    said = {
        "thresholds": [[label in answer.labels for label in TOPICS] for answer in answers],
        "half": [[answer.scores[label] >= 0.5 for label in TOPICS] for answer in answers],
    }
    for name, each in said.items():
        assert found["macro_f1"][name] == pytest.approx(
            f1_score(true, each, average="macro", zero_division=0), abs=1e-4
        )
        f1 = f1_score(true, each, average=None, zero_division=0)
        assert [found["labels"][label][name] for label in TOPICS] == pytest.approx(list(f1), abs=1e-4)
    gain = found["macro_f1"]["thresholds"] - found["macro_f1"]["half"]
    assert found["gain_points"] == pytest.approx(100 * gain, abs=0.02)


def test_one_label_a_text_is_refused(tiny_onnx: Path, tiny_data: Path) -> None:
    with pytest.raises(CompressError, match="has one label a text"):
        measure(tiny_onnx, str(tiny_data))
