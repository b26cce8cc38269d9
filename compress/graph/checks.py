"""Checks of a graph: does it answer as PyTorch does, and does ONNX Runtime run it by the kernels it is laid out for?

Answers are compared on texts and shapes that have gone wrong elsewhere. Kernels are counted, because a graph that
misses them is slow but right: the expected ones come from the nodes of the fp32 graph, the others from a session's
profile.
"""

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from compress.errors import CompressError
from compress.graph.profile import ProfileError, profile
from compress.graph.writer import KEPT_FP32
from compress.progress import progress, say
from compress.runtime.encoding import Feeds, pad
from compress.runtime.graph_file import INPUTS, graph_inputs
from compress.runtime.predictor import Predictor, check_finite, predict_logits
from compress.task import reads_pairs

BATCHES = (1, 2, 7, 32)
LENGTHS = (2, 9, 31, 128, 512)
# The most tokens of a text and of a batch: large batches of long texts took most of the time and found nothing more.
MOST_TOKENS = 1024

# Public domain prose, and short messages made up for this list.
_TEXTS = (
    "no",
    "",
    "A stirring, funny and finally transporting film.",
    "my card hasn't arrived yet, it's been 2 weeks!!!",
    "$12.50 was taken TWICE on 03/11 - see https://example.com/a?b=c&d=1 (ref. #A-77/b)",
    "Ünïcödé naïveté, 東京の天気, погода в Москве, مرحبا, 🙂👍🏽",
    "pneumonoultramicroscopicsilicovolcanoconiosis " * 2,
    "It is a truth universally acknowledged, that a single man in possession of a good fortune, must be in want of a "
    "wife.",
    "However little known the feelings or views of such a man may be on his first entering a neighbourhood, this truth "
    "is so well fixed in the minds of the surrounding families, that he is considered as the rightful property of some "
    "one or other of their daughters.",
    "Call me Ishmael. Some years ago - never mind how long precisely - having little or no money in my purse, and "
    "nothing particular to interest me on shore, I thought I would sail about a little and see the watery part of the "
    "world. It is a way I have of driving off the spleen, and regulating the circulation.",
)

# The kernels that count as each pattern.
_KERNELS = {
    "attention_products": ("FusedMatMul",),  # read their factors in place; two for each layer with heads
    "packed_projections": ("Split",),  # query, key and value (in the last layer key and value) by one product
    "int8_products": ("DynamicQuantizeMatMul", "MatMulIntegerToFloat"),  # with all the quantizing around them
    "activations": ("Gelu", "BiasGelu", "FastGelu", "Relu", "Tanh", "FusedGemm"),  # the last: in the head
    "layer_norms": ("LayerNormalization",),  # not fused with the sum before, which is slower
    "gathers": ("Gather",),  # rows of embedding tables, and the first token
}
Patterns = dict[str, int]


@dataclass(frozen=True)
class Parity:
    """The largest difference between two models' logits, over all batches."""

    max_logit_difference: float
    logit_tolerance: float  # the largest that is allowed
    batches: int
    longest_tokens: int


def check_parity(reference: Predictor, other: Predictor, vocabulary: int, longest: int, tolerance: float) -> Parity:
    """Compare logits over :func:`parity_batches`; one that differs by more than ``tolerance`` is an error."""
    batches = list(parity_batches(reference, vocabulary, longest))
    worst = 0.0
    with progress("parity", len(batches)) as advance:
        for feeds in batches:
            expected = check_finite(reference.run(feeds), "export: the model given")
            difference = float(np.abs(expected - other.run(feeds)).max())
            if not difference <= tolerance:  # also catches NaN
                batch, length = feeds["input_ids"].shape
                raise CompressError(
                    f"export: a logit differs by {difference:.1e} from PyTorch's at batch {batch} x {length} tokens, "
                    f"{tolerance:.0e} is allowed; nothing was written, please report this model"
                )
            worst = max(worst, difference)
            advance(note=f"largest difference {worst:.1e}")
    return Parity(worst, tolerance, len(batches), max(feeds["input_ids"].shape[1] for feeds in batches))


def check_answers(predictor: Predictor, model: str) -> None:
    """Refuse a ``model`` whose answers to a few real texts are not finite numbers."""
    pairs = reads_pairs(predictor.task)
    check_finite(predict_logits(predictor, list(zip(_TEXTS, _TEXTS, strict=True)) if pairs else _TEXTS), model)


def parity_batches(predictor: Predictor, vocabulary: int, longest: int) -> Iterator[Feeds]:
    """Batches of real texts, alone and padded together, and of random tokens, 1 to 32 rows of 2 to ``longest``.

    Random tokens come without padding and with it: on the right, as here, or on the left, as some clients pad.
    """
    longest, reads = min(longest, MOST_TOKENS), min(predictor.encoder.max_length, MOST_TOKENS)
    texts = [*_TEXTS, " ".join(_TEXTS) * (reads // 100 + 1)]  # the last: more than it reads, or at least that many
    pairs = list(zip(texts, [*texts[1:], texts[0]], strict=True))
    encoded = predictor.encoder(pairs if reads_pairs(predictor.task) else texts)
    encodings = [row for encoding in encoded for row in encoding.rows]
    yield from (pad([encoding]) for encoding in encodings)
    yield pad(encodings)
    yield pad(encodings[:-1])
    rng, pad_id = np.random.default_rng(0), predictor.encoder.pad_id
    lengths = sorted({min(length, longest) for length in LENGTHS} | {longest})
    for batch in BATCHES:
        for number, length in enumerate(lengths):
            if batch * length > MOST_TOKENS:
                continue
            ids = rng.integers(0, vocabulary, (batch, length))
            ids[ids == pad_id] = (pad_id + 1) % vocabulary
            segments = (np.arange(length) >= rng.integers(1, length + 1, (batch, 1))).astype(np.int64)
            yield {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": segments}
            kept = (np.arange(length) < rng.integers(1, length + 1, (batch, 1))).astype(np.int64)
            padded = np.where(kept, ids, pad_id), kept, segments * kept
            yield {name: value[:, :: (-1) ** number].copy() for name, value in zip(INPUTS, padded, strict=True)}


def check_patterns(graph: Path, expected: Patterns) -> dict[str, Patterns]:
    """How often a session for the file ``graph`` runs each pattern, as entries of the manifest.

    A model that does not run them as ``expected`` answers rightly but slowly: a line on stderr says so, and
    ``patterns_expected`` holds the expected numbers that were missed.
    """
    ids = np.ones((1, 2), dtype=np.int64)
    feeds = {name: ids if name == "attention_mask" else ids - 1 for name in graph_inputs(graph)}
    try:
        kernels = Counter(node.kernel for node in profile(graph, feeds, calls=1))
    except ProfileError as error:
        say(
            f"warning: {graph.name}: {error}, so which kernels it runs is not checked; measure it with 'compress bench'"
        )
        return {}
    found = {kind: sum(kernels[name] for name in names) for kind, names in _KERNELS.items()}
    missed = {kind: count for kind, count in expected.items() if found[kind] != count}
    if not missed:
        return {"patterns": found}
    counts = ", ".join(f"{found[kind]} {kind} where {count} are expected" for kind, count in missed.items())
    say(
        f"warning: {graph.name}: this onnxruntime runs {counts}, so the model may be slow here; measure it with "
        "'compress bench', or try another version of onnxruntime"
    )
    return {"patterns": found, "patterns_expected": missed}


def expected_patterns(model: onnx.ModelProto, kept_fp32: Collection[str] | None = None) -> Patterns:
    """The patterns of an fp32 ``model`` of ours, or of its int8 form where some weights are ``kept_fp32``."""
    constants = {tensor.name for tensor in model.graph.initializer}
    kinds = Counter(node.op_type for node in model.graph.node)
    factors = [set(node.input) & constants for node in model.graph.node if node.op_type == "MatMul"]
    weights = set().union(*factors) - {KEPT_FP32}
    return {kind: sum(kinds[name] for name in names) for kind, names in _KERNELS.items()} | {
        "attention_products": factors.count(set()),
        "int8_products": 0 if kept_fp32 is None else len(weights.difference(kept_fp32)),
    }
