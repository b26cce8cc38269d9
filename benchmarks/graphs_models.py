"""The graphs that graphs.py times: ours, the stock export quantized two ways, and the int8 products alone."""

import csv
import json
import random
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from transformers import BertConfig, BertForSequenceClassification, PreTrainedModel

from benchmarks.graphs_worker import token_feeds
from benchmarks.peers.environments import python_of
from compress.families.view import EncoderView
from compress.graph.build import graph_of
from compress.graph.writer import IR_VERSION, OPSET
from compress.quantization.dynamic import quantize_weights

ROOT = Path(__file__).parents[1]
# Layers, hidden size, heads, neurons.
SHAPES = {"BERT-base 12x768": (12, 768, 12, 3072), "MiniLM 6x384": (6, 384, 12, 1536)}
STUDENT = "student"
_CALIBRATION_TEXTS = 128


@dataclass(frozen=True)
class Files:
    """Where a model's graphs lie."""

    folder: Path

    @property
    def contenders(self) -> dict[str, Path]:
        return {
            "compress int8": self.folder / "ours.onnx",
            "stock quantize_dynamic": self.folder / "stock.onnx",
            "OpenVINO + NNCF int8": self.folder / "openvino.xml",
            "int8 products alone": self.folder / "floor.onnx",
        }


def build(model: PreTrainedModel, calibration: list[list[int]], folder: Path, openvino: bool) -> None:
    """Write all graphs of ``model``; the peers' only where they are missing, ours and the floor each time."""
    folder.mkdir(parents=True, exist_ok=True)
    files = Files(folder).contenders
    build_ours(model, folder)
    onnx.save(floor_graph(model), files["int8 products alone"])
    if not files["stock quantize_dynamic"].is_file():
        build_stock(model, folder)
    stock = folder / "stock.fp32.onnx"
    if openvino and not files["OpenVINO + NNCF int8"].is_file():
        texts = folder / "calibration.json"
        texts.write_text(json.dumps(calibration), encoding="utf-8")
        quantize_openvino(stock, texts, files["OpenVINO + NNCF int8"])


def build_ours(model: PreTrainedModel, folder: Path) -> None:
    """Our graph of ``model`` in fp32 and int8."""
    fp32 = graph_of(model)
    onnx.save(fp32, folder / "ours.fp32.onnx")
    onnx.save(quantize_weights(fp32), Files(folder).contenders["compress int8"])


def build_stock(model: PreTrainedModel, folder: Path) -> None:
    """What everybody does: ``torch.onnx.export`` of transformers' model with eager attention, ``quantize_dynamic``."""
    stock = folder / "stock.fp32.onnx"
    export_stock(model, random_texts(2, 16), stock)
    quantize_dynamic(stock, Files(folder).contenders["stock quantize_dynamic"], weight_type=QuantType.QInt8)


def export_stock(model: PreTrainedModel, texts: list[list[int]], out: Path) -> None:
    """By the TorchScript exporter, because ``quantize_dynamic`` fails on what the newer one writes.

    ``texts`` are token ids to trace it with, at least two of one length.
    """
    model.set_attn_implementation("eager")  # of which the exporter makes fewer nodes than of sdpa
    inputs = {name: torch.from_numpy(one) for name, one in token_feeds(texts).items()}
    inputs = EncoderView(model).inputs(inputs)
    torch.onnx.export(
        model,
        (inputs,),
        out,
        input_names=list(inputs),
        output_names=["logits"],
        dynamic_axes={name: {0: "batch", 1: "sequence"} for name in inputs},
        opset_version=17,
        dynamo=False,
    )


def floor_graph(model: PreTrainedModel) -> onnx.ModelProto:
    """Nothing but the int8 products that the classifier needs, at their sizes, with weights of their own each.

    After the last layer's keys and values only a text's first token is multiplied, as in our graph.
    """
    config = model.config
    hidden, neurons, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    nodes: list[onnx.NodeProto] = []
    weights = [numpy_helper.from_array(np.array(128, np.uint8), "zero")]
    outputs = []

    def product(name: str, rows: str, wide: int, high: int) -> None:
        values = np.random.default_rng(0).integers(-127, 128, (wide, high)).astype(np.int8)
        weights.append(numpy_helper.from_array(values, f"{name}.weight"))
        nodes.append(helper.make_node("MatMulInteger", [f"{rows}.{wide}", f"{name}.weight", "zero"], [name]))
        outputs.append(helper.make_tensor_value_info(name, TensorProto.INT32, [rows, high]))

    for layer in range(layers):
        rows = "tokens" if layer < layers - 1 else "texts"
        if rows == "tokens":
            product(f"{layer}.qkv", "tokens", hidden, 3 * hidden)
        else:
            product(f"{layer}.kv", "tokens", hidden, 2 * hidden)
            product(f"{layer}.query", rows, hidden, hidden)
        product(f"{layer}.output", rows, hidden, hidden)
        product(f"{layer}.ffn.input", rows, hidden, neurons)
        product(f"{layer}.ffn.output", rows, neurons, hidden)
    inputs = [
        helper.make_tensor_value_info(f"{rows}.{wide}", TensorProto.UINT8, [rows, wide])
        for rows in ("tokens", "texts")
        for wide in (hidden, neurons)
    ]
    read = {name for node in nodes for name in node.input}
    graph = helper.make_graph(nodes, "floor", [one for one in inputs if one.name in read], outputs, weights)
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    built.ir_version = IR_VERSION
    return built


def random_bert(shape: str) -> BertForSequenceClassification:
    """A BERT of one of :data:`SHAPES`, untrained: speed does not depend on the weights' values."""
    layers, hidden, heads, neurons = SHAPES[shape]
    torch.manual_seed(0)
    config: dict[str, Any] = {
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "intermediate_size": neurons,
        "num_labels": 2,
        "attn_implementation": "eager",
    }
    model = BertForSequenceClassification(BertConfig(**config))
    model.train(mode=False)
    return model


def random_texts(count: int, length: int) -> list[list[int]]:
    """Token ids of texts that never were."""
    found: list[list[int]] = np.random.default_rng(0).integers(1000, 30000, (count, length)).tolist()
    return found


def prepare(work: Path, models: Sequence[str], student: Path | None, data: Path, openvino: bool) -> None:
    """The models' graphs, under ``work``; for a student also the tokens and labels of the test sentences."""
    torch.set_num_threads(1)
    for shape in SHAPES.keys() & models:
        build(random_bert(shape), random_texts(_CALIBRATION_TEXTS, 32), work / shape.replace(" ", "-"), openvino)
    if student is None or STUDENT not in models:
        return
    from compress.modeling.checkpoint import load_classifier

    checkpoint = load_classifier(str(student))
    encode = checkpoint.encoder
    train, _ = read_tsv(data / "train.tsv")
    random.Random(0).shuffle(train)
    calibration = [one.ids for one in encode(train[:_CALIBRATION_TEXTS])]
    build(checkpoint.model, calibration, work / STUDENT, openvino)
    texts, labels = read_tsv(data / "test.tsv")
    found = {"ids": [one.ids for one in encode(texts)], "labels": labels}
    (work / STUDENT / "texts.json").write_text(json.dumps(found), encoding="utf-8")


def read_tsv(path: Path) -> tuple[list[str], list[int]]:
    """Sentences and labels of a file of SST-2's."""
    with path.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [row["sentence"] for row in rows], [int(row["label"]) for row in rows]


def openvino_python() -> Path:
    """Of OpenVINO and NNCF, the best int8 peer on x86, in an environment of their own."""
    return python_of("nncf", ROOT / ".peers")


def quantize_openvino(fp32: Path, calibration: Path, out: Path) -> None:
    """NNCF's static int8 of an ONNX file, as its guide has it for transformers, in the peer's environment.

    Args:
        fp32: a stock export.
        calibration: JSON, a list of texts' token ids.
        out: the OpenVINO model (``.xml``) to write.
    """
    python = openvino_python()
    subprocess.run([python, "-m", "benchmarks.openvino_quantize", fp32, calibration, out], check=True, cwd=ROOT)
