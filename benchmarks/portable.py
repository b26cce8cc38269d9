"""Does int8 answer alike on a CPU without VNNI? ``python -m benchmarks.portable MODEL DATA [--texts N] [--saturate]``.

MODEL is a PyTorch folder. Its int8 graph is made in three ranges: ``full`` (every column up to 127), ``observed`` (what
``compress quantize`` writes: columns that its validation texts could saturate use less) and ``portable`` (what
``--portable`` writes). Each answers the first test texts here and on an emulated Haswell (``qemu-x86_64``, Debian's
qemu-user), one text at a time; a JSON line a range says how far the two are apart. Emulation takes half a second a text
and range; fp32 is left out, for its products are emulated 30 times slower and have nothing to saturate.

``--saturate`` first gives the model what saturation needs, and its fp32 answers hardly change: the first two hidden
values before each FFN become a large constant, their weights the largest of each column, and the biases take both back.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx

from benchmarks.kept import about
from compress.config import DataConfig
from compress.data import Split
from compress.data.read import read_dataset
from compress.evaluation.metrics import predictions, score
from compress.graph.post_norm import PostNormGraph
from compress.graph.weights import EncoderWeights, LayerWeights, Linear, Norm, read_weights
from compress.modeling.checkpoint import Checkpoint, load_classifier
from compress.modeling.torch_predictor import TorchPredictor
from compress.quantization.dynamic import QuantizationPlan, quantize_weights
from compress.quantization.reference import Candidate, reference_outputs
from compress.quantization.saturation import observe, observed_plan, portable_plan
from compress.runtime.encoding import Encoding, pad
from compress.runtime.predictor import Logits

_VALIDATION_TEXTS = 256  # as many as quantize observes
_CONSTANT = 6.0  # a few times what layer norm leaves of other values
_ANSWER = """
import sys, numpy as np, onnxruntime as ort
texts = np.load(sys.argv[1])
feeds = [{name: texts[f"{name}.{row}"] for name in ("input_ids", "attention_mask", "token_type_ids")}
         for row in range(len(texts.files) // 3)]
options = ort.SessionOptions()
options.intra_op_num_threads = 1
for graph in sys.argv[2:]:
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    np.save(graph + ".npy", np.concatenate([session.run(["logits"], each)[0] for each in feeds]))
"""


def main() -> None:
    """One JSON line a range on stdout."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("--texts", type=int, default=400)
    parser.add_argument("--saturate", action="store_true")
    arguments = parser.parse_args()
    if shutil.which("qemu-x86_64") is None:
        raise SystemExit("needs qemu-x86_64: apt-get install qemu-user")
    checkpoint = load_classifier(arguments.model)
    data = read_dataset(DataConfig(data=arguments.data))
    weights = read_weights(checkpoint.model)
    graphs = int8_graphs(saturating(weights) if arguments.saturate else weights, checkpoint, data.validation)
    test = Split(data.test.texts[: arguments.texts], data.test.labels[: arguments.texts])
    told = about([1]) | {"model": arguments.model, "made_to_saturate": arguments.saturate, "texts": len(test.texts)}
    for row in compare(graphs, checkpoint, test):
        print(json.dumps(told | row), flush=True)


def saturating(weights: EncoderWeights) -> EncoderWeights:
    """Nearly the same model, with two neighbouring values that are large wherever their weights are."""
    return replace(weights, layers=tuple(_with_constants(layer) for layer in weights.layers))


def _with_constants(layer: LayerWeights) -> LayerWeights:
    scale, shift = layer.attention_norm.scale.copy(), layer.attention_norm.shift.copy()
    weight, bias = layer.ffn_input.weight.copy(), layer.ffn_input.bias.copy()
    behind = layer.ffn_output.bias.copy()
    scale[:2] = 0
    behind[:2] += shift[:2] - _CONSTANT  # what follows the FFN sees the constant that was there before
    bias += shift[:2] @ weight[:2]
    shift[:2] = _CONSTANT
    weight[:2] = np.abs(weight).max(axis=0)
    bias -= shift[:2] @ weight[:2]
    return replace(
        layer,
        attention_norm=Norm(scale, shift),
        ffn_input=Linear(weight, bias),
        ffn_output=Linear(layer.ffn_output.weight, behind),
    )


def int8_graphs(weights: EncoderWeights, checkpoint: Checkpoint, validation: Split) -> dict[str, onnx.ModelProto]:
    """The int8 graphs by range."""
    fp32 = PostNormGraph(weights).build()
    reference = reference_outputs(Candidate(fp32, TorchPredictor(checkpoint), 1), validation).sample(_VALIDATION_TEXTS)
    portable = portable_plan(fp32)
    plans = {
        "full": QuantizationPlan(),
        "observed": observed_plan(fp32, observe(fp32, portable, reference, 1)),
        "portable": portable,
    }
    return {name: quantize_weights(fp32, plan) for name, plan in plans.items()}


def compare(graphs: dict[str, onnx.ModelProto], checkpoint: Checkpoint, test: Split) -> Iterator[dict[str, Any]]:
    """Each graph's answers here and there."""
    encodings = TorchPredictor(checkpoint).encoder(test.texts)
    targets = test.targets(checkpoint.labels, checkpoint.task)
    here = answers(graphs, encodings, [])
    there = answers(graphs, encodings, [shutil.which("qemu-x86_64") or "", "-cpu", "Haswell"])
    metric = "macro_f1" if targets.ndim == 2 else "accuracy"
    for name in graphs:
        one, other = here[name], there[name]
        same = (predictions(checkpoint.task, one) == predictions(checkpoint.task, other)).all(axis=1)
        yield {
            "range": name,
            "equal_labels": round(float(same.mean()), 4),
            "largest_logit_move": round(float(np.abs(one - other).max()), 4),
            f"{metric}_here": round(score(metric, one, targets), 4),
            f"{metric}_haswell": round(score(metric, other, targets), 4),
        }


def answers(graphs: dict[str, onnx.ModelProto], encodings: list[Encoding], emulator: list[str]) -> dict[str, Logits]:
    """Logits by graph, from a process of its own under ``emulator``."""
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        feeds = {
            f"{name}.{row}": array for row, encoding in enumerate(encodings) for name, array in pad([encoding]).items()
        }
        np.savez(folder / "texts.npz", **feeds)  # type: ignore[arg-type]  # the stubs take an array for a keyword
        paths = {name: folder / f"{name}.onnx" for name in graphs}
        for name, path in paths.items():
            onnx.save(graphs[name], path)
        command = [*emulator, sys.executable, "-c", _ANSWER, str(folder / "texts.npz"), *map(str, paths.values())]
        subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
        return {name: np.load(f"{path}.npy") for name, path in paths.items()}


if __name__ == "__main__":
    main()
