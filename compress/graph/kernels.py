"""Does ONNX Runtime run the graph by the kernels that it is laid out for? Counted, because a miss is only slow.

Expected counts follow from the model's weights: how wide it is, and which layers have heads and neurons. Found counts
are of the kernels that a session really runs, after ONNX Runtime's own rewriting.
"""

import re
from collections import Counter
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx

from compress.errors import CompressError
from compress.graph.build import APART_FROM
from compress.graph.profile import profile
from compress.quantization.dynamic import KEPT_FP32
from compress.runtime.session import INPUTS

_KERNELS = {
    "attention_products": ("FusedMatMul",),
    "packed_projections": ("Split",),
    "int8_products": ("DynamicQuantizeMatMul", "MatMulIntegerToFloat"),
    "activations": ("Gelu", "BiasGelu", "FastGelu", "Relu"),
    "layer_norms": ("LayerNormalization",),
    "gathers": ("Gather",),
}


@dataclass(frozen=True)
class Patterns:
    """How many of each pattern a graph has.

    Attributes:
        attention_products: products within attention that read their factors in place, two for each layer with heads.
        packed_projections: products of query, key and value (in the last layer key and value) in one.
        int8_products: products of int8 weights in one kernel with all quantizing around them.
        activations: of FFNs, each in one kernel.
        layer_norms: on their own, not fused with the sum before, which is slower.
        gathers: of word, segment and the first token.
    """

    attention_products: int
    packed_projections: int
    int8_products: int
    activations: int
    layer_norms: int
    gathers: int


def check_patterns(graph: Path, expected: Patterns) -> Patterns:
    """The patterns that the session for the file ``graph`` runs.

    Raises:
        CompressError: there are more or fewer of some than ``expected``; names each.
    """
    found = count_patterns(run_kernels(graph))
    there, wanted = asdict(found), asdict(expected)
    if off := [
        f"{there[kind]} {kind} where {count} are expected" for kind, count in wanted.items() if there[kind] != count
    ]:
        raise CompressError(
            f"{graph.name}: this onnxruntime runs {', '.join(off)}, so the model would be slow here; nothing was "
            "written, install the onnxruntime that constraints.txt names"
        )
    return found


def expected_patterns(model: onnx.ModelProto, kept_fp32: Collection[str] | None = None) -> Patterns:
    """What an fp32 ``model`` of ours calls for, or its int8 form with some weights ``kept_fp32``."""
    widths = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}

    def layers(part: str) -> int:
        return sum(re.fullmatch(rf"layer\.\d+\.{part}", name) is not None for name in widths)

    with_heads = layers(r"attention\.output\.weight")
    (hidden,) = widths["embeddings.norm.scale"]
    matrices = {name for name in widths if name.endswith(".weight")}.difference(KEPT_FP32)
    return Patterns(
        attention_products=2 * with_heads,
        packed_projections=with_heads if hidden < APART_FROM else 0,
        int8_products=0 if kept_fp32 is None else len(matrices.difference(kept_fp32)),
        activations=layers(r"ffn\.input\.weight"),
        layer_norms=1 + 2 * layers(r"ffn\.norm\.scale"),
        gathers=3,
    )


def count_patterns(kernels: Counter[str]) -> Patterns:
    """The patterns among ``kernels``, each with how often it runs."""
    return Patterns(**{kind: sum(kernels[name] for name in names) for kind, names in _KERNELS.items()})


def run_kernels(graph: Path) -> Counter[str]:
    """The kernels that a session for the file ``graph`` runs for a text."""
    ids = np.ones((1, 2), dtype=np.int64)
    feeds = {name: ids if name == "attention_mask" else ids - 1 for name in INPUTS}
    return Counter(node.kernel for node in profile(graph, feeds, calls=1))
