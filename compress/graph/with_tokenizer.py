"""A network's graph with the tokenizer before it, from texts to labels.

The operators for text come from onnxruntime-extensions, which an app registers once (there are builds for C#, Java,
mobile and Python). Each text is answered alone, in a loop: nothing is padded, and no text shifts another's int8 scores.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto
from tokenizers import Tokenizer
from tokenizers.models import BPE

from compress.folder import Manifest
from compress.graph import byte_pairs
from compress.graph.tokenizer import DOMAIN, write_pair_tokens, write_tokens
from compress.graph.writer import GraphWriter, Shape, model_of
from compress.runtime.graph_file import INPUTS, OUTPUT
from compress.task import is_multi_label, reads_pairs

TEXTS = ("text", "text_pair")


def with_tokenizer(network: onnx.ModelProto, tokenizer: Tokenizer, manifest: Manifest) -> onnx.ModelProto:
    """``network``, a graph of ours from token ids to logits, with ``tokenizer`` before it and labels after it.

    Inputs: ``text``, strings ``[batch]``; for tasks on pairs ``text_pair`` too. Outputs: ``label``, the likeliest,
    strings ``[batch]``; ``score``, its probability, float32 ``[batch]``; ``scores``, float32 ``[batch, labels]``, in
    the order of the manifest's labels. For multi-label tasks the labels that apply are those with a score of at least
    0.5. The tokenizer must be a BERT's or RoBERTa's.
    """
    texts = TEXTS if reads_pairs(manifest.task) else TEXTS[:1]
    outer = GraphWriter()
    count = outer.op("Squeeze", outer.op("Shape", texts[0], name="count.shape"), name="count")
    body = _answer_one(network, tokenizer, texts, manifest)
    logits = outer.op("Loop", count, "", name=OUTPUT, body=body)
    squash = "Sigmoid" if is_multi_label(manifest.task) else "Softmax"
    scores = outer.op(squash, logits, name="scores")
    best = outer.op("ArgMax", scores, name="best", axis=1, keepdims=0)
    outer.op("ReduceMax", scores, outer.constant("axis", [1]), name="score", keepdims=0)
    outer.op("Gather", outer.constant("labels", np.array(manifest.labels, dtype=object)), best, name="label")
    answers: dict[str, Shape] = {
        "label": (TensorProto.STRING, ["batch"]),
        "score": (TensorProto.FLOAT, ["batch"]),
        "scores": (TensorProto.FLOAT, ["batch", len(manifest.labels)]),
    }
    reads: dict[str, Shape] = {name: (TensorProto.STRING, ["batch"]) for name in texts}
    others = [opset.domain for opset in network.opset_import if opset.domain]
    return model_of(outer.graph("bert-classifier-of-texts", reads, answers), DOMAIN, *others)


def _answer_one(network: onnx.ModelProto, tokenizer: Tokenizer, texts: Sequence[str], manifest: Manifest) -> Any:
    """The loop's body: tokens of one text or pair, then the network's own nodes and weights; gives a row of logits."""
    graph = GraphWriter()
    axis = graph.constant("axis.0", [0])
    at = graph.op("Unsqueeze", "number", axis, name="at")
    chosen = [graph.op("Gather", text, at, name=f"{text}.one") for text in texts]
    if isinstance(tokenizer.model, BPE):
        tokens = byte_pairs.write_tokens(graph, tokenizer, chosen, manifest.max_length)
    elif len(chosen) == 1:
        tokens = write_tokens(graph, tokenizer, chosen[0], manifest.max_length)
    else:
        pair = graph.op("Concat", *chosen, name="pair", axis=0)
        tokens = write_pair_tokens(graph, tokenizer, pair, manifest.max_length)
    values = dict(zip(INPUTS, tokens, strict=True))
    for network_input in network.graph.input:
        graph.op("Unsqueeze", values[network_input.name], axis, name=network_input.name)
    graph.extend(network.graph)
    graph.op("Squeeze", network.graph.output[0].name, axis, name="row")
    graph.op("Identity", "going", name="going.on")
    return graph.graph(
        "answer-one",
        {"number": (TensorProto.INT64, []), "going": (TensorProto.BOOL, [])},
        {"going.on": (TensorProto.BOOL, []), "row": (TensorProto.FLOAT, [len(manifest.labels)])},
    )
