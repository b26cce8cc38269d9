"""Every kind of task and width goes all the way: fp32, fp16, dynamic and static int8, and answers as PyTorch does."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import compress
from compress.folder import read_manifest
from compress.modeling.checkpoint import Checkpoint, save_checkpoint
from compress.modeling.torch_predictor import TorchPredictor
from compress.runtime.encoding import Text
from compress.runtime.predictor import predict_logits
from tests.tiny import make_bert, make_checkpoint, write_rows

WHOLE, UNEVEN = ((4, 4), (128, 128)), ((3, 1), (96, 32))


@dataclass(frozen=True)
class Kind:
    task: str
    labels: int
    widths: tuple[tuple[int, ...], tuple[int, ...]]


KINDS = {
    "5 labels at once, uneven": Kind("multi_label", 5, UNEVEN),
    "pairs, uneven": Kind("pair_single_label", 3, UNEVEN),
    "pairs with labels at once": Kind("pair_multi_label", 4, WHOLE),
    "77 labels, uneven": Kind("single_label", 77, UNEVEN),
}


def rows_of(kind: Kind, labels: tuple[str, ...], count: int) -> list[dict[str, object]]:
    """Texts of 1 to 60 words, some beyond the model's 128 tokens; each label is there."""
    rng = np.random.default_rng(0)
    words = ["good", "bad", "film", "story", "zyxw", "the", "very", "3.5", "é"]
    rows: list[dict[str, object]] = []
    for number in range(count):
        texts = [" ".join(rng.choice(words, rng.integers(1, 61))) for _ in range(2)]
        row: dict[str, object] = {"sentence1": texts[0], "sentence2": texts[1]}
        if not kind.task.startswith("pair"):
            row = {"text": f"{texts[0]} {number}"}
        named = labels[number % len(labels)]
        row["labels" if "multi" in kind.task else "label"] = [named][: number % 3] if "multi" in kind.task else named
        rows.append(row)
    return rows


# Each time. Pairs and several labels at once are in tests/families/test_tasks.py each time, but not of BERT.
MANY = "77 labels, uneven"


@pytest.fixture(params=[name if name == MANY else pytest.param(name, marks=pytest.mark.slow) for name in KINDS])
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


@pytest.fixture
def made(kind: Kind, tiny_encoder: Path, tmp_path: Path) -> tuple[Checkpoint, Path, list[Text]]:
    """A classifier in a folder, the folder of its data, and the data's texts."""
    heads, neurons = kind.widths
    labels = tuple(f"label {number:02}" for number in range(kind.labels))
    model = make_bert(heads, neurons, labels=kind.labels)
    checkpoint = make_checkpoint(tiny_encoder, model, labels, task=kind.task)
    save_checkpoint(checkpoint, tmp_path / "torch")
    rows = rows_of(kind, labels, max(kind.labels, 40))
    (tmp_path / "data").mkdir()
    for split in ("train", "validation", "test"):
        write_rows(tmp_path / "data" / f"{split}.jsonl", rows)
    texts: list[Text] = [
        (str(row["sentence1"]), str(row["sentence2"])) if "sentence1" in row else str(row["text"]) for row in rows
    ]
    return checkpoint, tmp_path, texts


def test_it_exports_and_quantizes_in_every_form(kind: Kind, made: tuple[Checkpoint, Path, list[Text]]) -> None:
    checkpoint, folder, texts = made
    expected = predict_logits(TorchPredictor(checkpoint), texts)
    compress.export(folder / "torch", folder / "fp32", threads=1)
    compress.export(folder / "torch", folder / "fp16", precision="fp16", threads=1)
    for name in ("dynamic", "static"):
        compress.quantize(folder / "fp32", folder / "data", folder / name, activations=name, max_drop=100, threads=1)
    off = {}
    for name in ("fp32", "fp16", "dynamic", "static"):
        classifier, manifest = compress.load(folder / name, threads=1), read_manifest(folder / name)
        assert (classifier.task, classifier.labels) == (kind.task, checkpoint.labels)
        logits = classifier.logits(texts) * manifest.history[-1]["metrics"].get("temperature", 1.0)
        assert logits.shape == (len(texts), kind.labels)
        off[name] = float(np.abs(logits - expected).max())
    assert off["fp32"] < 1e-4
    assert off["fp16"] < 0.05
    assert max(off["dynamic"], off["static"]) < 0.6, off  # logits of these models have a spread of about 2
    parity = read_manifest(folder / "fp32").history[-1]["metrics"]
    assert parity["max_logit_difference"] <= parity["logit_tolerance"] == 1e-4
    assert parity["longest_tokens"] == 128
