"""Small BERTs with random weights, biases and norms included, and small data sets, for the tests of several rooms."""

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    BertTokenizer,
    PreTrainedModel,
)

from compress.config import DataConfig
from compress.data import Dataset
from compress.data.read import read_dataset
from compress.families.bert import BERT
from compress.folder import Manifest
from compress.graph.build import graph_of
from compress.modeling.checkpoint import Checkpoint, quiet_transformers
from compress.modeling.pruned import pruned_classifier, pruned_config
from compress.packaging.layout import finish_onnx_folder, write_side_files
from compress.runtime.encoding import Feeds
from compress.runtime.graph_file import FP32_GRAPH
from compress.runtime.session import open_session
from compress.workers.timing import TimedCalls

HEAD_SIZE = 16
HIDDEN = 64
VOCABULARY = 108  # of the tiny encoder's tokenizer
STORED_RUN = Path(__file__).parent / "compatibility" / "made_by_d737081"  # 2 layers x 16; 64, 24 and 24 texts
THREE_LABELS = ("x", 'y "é"', "z")


def make_bert(
    heads: Sequence[int] = (4, 4, 4, 4),
    neurons: Sequence[int] = (128, 128, 128, 128),
    labels: int = 2,
    activation: str = "gelu",
    seed: int = 0,
) -> BertForSequenceClassification:
    """A stock BERT where all layers are whole, else a pruned one; no weight is 0 or 1 as a fresh model's are."""
    whole = set(heads) == {4} and set(neurons) == {128}
    torch.manual_seed(seed)
    shape: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": HIDDEN,
        "num_hidden_layers": len(heads),
        "num_attention_heads": 4,
        "intermediate_size": 128,
        "max_position_embeddings": 128,
        "num_labels": labels,
        "hidden_act": activation,
    }
    widths: dict[str, Any] = {"heads_per_layer": list(heads), "neurons_per_layer": list(neurons)}
    with quiet_transformers():
        model = (
            BertForSequenceClassification(BertConfig(**shape))
            if whole
            else pruned_classifier(BERT)(pruned_config(BERT)(**shape, **widths, attention_head_size=HEAD_SIZE))
        )
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.normal_(1.0 if name.endswith("LayerNorm.weight") else 0.0, 0.2)
    model.train(mode=False)
    return model


def write_first_layers(encoder: Path, layers: int, folder: Path) -> Path:
    """The encoder of a folder with its first layers alone: for how a training goes, which depth only makes longer."""
    BertModel.from_pretrained(encoder, num_hidden_layers=layers).save_pretrained(folder)
    BertTokenizer.from_pretrained(encoder).save_pretrained(folder)
    return folder


def make_checkpoint(
    tokenizer: Path, model: PreTrainedModel, labels: tuple[str, ...], task: str = "single_label"
) -> Checkpoint:
    found: Any = AutoTokenizer.from_pretrained(tokenizer)
    return Checkpoint(model, found, task, labels, max_length=128, source="made here")


def write_onnx(checkpoint: Checkpoint, folder: Path, graph: onnx.ModelProto | None = None) -> Manifest:
    """The folder that ``export`` writes, without its checks, which take most of its time; or with another graph."""
    (folder / FP32_GRAPH).parent.mkdir(parents=True, exist_ok=True)
    onnx.save(graph_of(checkpoint.model) if graph is None else graph, folder / FP32_GRAPH)
    write_side_files(checkpoint, folder)
    return finish_onnx_folder(folder, folder.name, checkpoint.manifest("onnx"))


def parts(model: PreTrainedModel) -> Any:
    """The same model, untyped, as transformers leaves what is inside."""
    return model


def read(data: Path) -> Dataset:
    return read_dataset(DataConfig(data=str(data)))


def make_feeds(batch: int, length: int, *, padded: bool = False, seed: int = 0) -> Feeds:
    """Random tokens in two segments; padded rows have lengths from 1 to ``length``."""
    rng = np.random.default_rng([seed, batch, length])
    ids = rng.integers(5, VOCABULARY, (batch, length))
    segments = (np.arange(length) >= rng.integers(1, length + 1, (batch, 1))).astype(np.int64)
    lengths = rng.integers(1, length + 1, (batch, 1)) if padded else np.full((batch, 1), length)
    kept = (np.arange(length) < lengths).astype(np.int64)
    return {"input_ids": ids * kept, "attention_mask": kept, "token_type_ids": segments * kept}


def torch_logits(model: PreTrainedModel, feeds: Feeds) -> npt.NDArray[np.float32]:
    with torch.inference_mode():
        logits: torch.Tensor = model(**{name: torch.from_numpy(array) for name, array in feeds.items()}).logits
    return np.asarray(logits.numpy())


def write_rows(path: Path, rows: Sequence[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def weights_of(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in model.state_dict().items()}


def same_weights(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class TimerHere(AbstractContextManager["TimerHere"]):
    """Times a graph as :class:`compress.latency.timer.GraphTimer` does, but in this process."""

    def __init__(self, graph: bytes, feeds: Sequence[Feeds], threads: int) -> None:
        session = open_session(graph, threads)
        self._calls = TimedCalls(lambda each: session.run(["logits"], each), feeds)

    def turn(self, calls: int, first: int) -> float:
        return float(np.median(self._calls.turn(calls, first=first)))

    def __exit__(self, *_: object) -> None:
        """The session goes with its last reference."""
