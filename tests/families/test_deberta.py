"""What DeBERTa has beside other families: buckets of distances as transformers rounds them, and what is refused."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
from transformers.models.deberta_v2.modeling_deberta_v2 import build_relative_position

from compress.errors import CompressError
from compress.families.deberta import DEBERTA
from compress.graph.build import graph_of
from compress.graph.disentangled import relative_rows
from compress.graph.writer import TABLE, constants_of
from compress.modeling.model_folder import check_files
from compress.modeling.reading import read_config
from compress.quantization.dynamic import QuantizationPlan, quantizable, quantize_weights
from tests.families.models import make_feeds, make_model


@pytest.mark.parametrize(("longest", "buckets", "most_distant"), [(512, 256, -1), (700, 256, 512), (90, 32, 128)])
def test_each_distance_has_the_row_that_transformers_looks_up(longest: int, buckets: int, most_distant: int) -> None:
    config = SimpleNamespace(
        position_buckets=buckets, max_relative_positions=most_distant, max_position_embeddings=longest
    )
    tokens = torch.zeros(1, longest, 1)
    (found,) = build_relative_position(tokens, tokens, buckets, most_distant if most_distant > 0 else longest)
    place = np.arange(longest)
    rows = relative_rows(config, longest)[longest - (place[:, None] - place)]
    assert np.array_equal(rows, (found + buckets).clamp(0, 2 * buckets - 1).numpy())


@pytest.mark.parametrize(
    ("setting", "value"),
    [("conv_kernel_size", 3), ("type_vocab_size", 2), ("pooler_hidden_act", "tanh"), ("pooler_hidden_size", 32)],
)
def test_what_the_graph_does_not_compute_is_refused_in_one_line(setting: str, value: Any, tmp_path: Path) -> None:
    config = {"model_type": "deberta-v2", "hidden_size": 64, "num_attention_heads": 4, setting: value}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CompressError, match=rf"^{tmp_path}: [^\n]*\({setting}\)[^\n]*$"):
        read_config(str(tmp_path))


def test_tables_of_distances_are_int8_in_int8_files_and_answers_stay_near() -> None:
    fp32 = graph_of(make_model(DEBERTA))
    int8 = quantize_weights(fp32)
    tables = {name: array for name, array in constants_of(int8).items() if ".table" in name and "scale" not in name}
    assert len(tables) == 2 * 4  # of keys and of queries in each layer
    assert {array.dtype for array in tables.values()} == {np.dtype(np.int8)}
    alone = frozenset(name for name in quantizable(fp32) if not name.endswith(TABLE))
    feeds = make_feeds(DEBERTA, 3, 20, "right")
    logits = [
        ort.InferenceSession(model.SerializeToString()).run(None, feeds)[0]
        for model in (fp32, quantize_weights(fp32, QuantizationPlan(kept_fp32=alone)))
    ]
    assert 0 < np.abs(logits[0] - logits[1]).max() < 0.05


def test_a_folder_with_spm_model_alone_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As microsoft/deberta-v3-base is published."""
    monkeypatch.setattr("compress.modeling.model_folder.is_installed", lambda _: False)  # also where it is installed
    make_model(DEBERTA).save_pretrained(tmp_path)
    (tmp_path / "spm.model").write_bytes(b"pieces")
    with pytest.raises(
        CompressError, match=rf"^{tmp_path}/spm\.model: [^\n]*pip install sentencepiece protobuf[^\n]*$"
    ):
        check_files(tmp_path)
