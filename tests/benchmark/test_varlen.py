"""A BERT without padding answers as the padded one, whatever the widths, lengths, pairs and attention."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from benchmarks.gpu.attentions import ATTENTIONS
from compress.benchmark.backends.torch_modes import DTYPES
from compress.benchmark.backends.varlen import Attend, Packed, PackedBert, attention_for, flash, grouped, pack
from compress.benchmark.backends.varlen_backend import StaticTokens, VarlenBackend, size_of
from compress.benchmark.rows import Row, open_row
from compress.errors import CompressError
from compress.graph.weights import read_weights
from compress.modeling.checkpoint import load_classifier
from compress.runtime.predictor import predict_logits
from tests.tiny import make_bert, make_feeds, torch_logits

ON_CPU = [name for name in ATTENTIONS if name != "flash"]
UNEVEN = {"heads": (2, 0, 3), "neurons": (32, 96, 0)}


@pytest.mark.parametrize("attention", ON_CPU)
@pytest.mark.parametrize("widths", [{}, UNEVEN], ids=["even", "uneven"])
def test_answers_are_those_of_the_padded_model(attention: str, widths: dict[str, tuple[int, ...]]) -> None:
    model = make_bert(**widths, labels=3)  # type: ignore[arg-type]  # mypy cannot tell which keys the dict has
    feeds = make_feeds(9, 24, padded=True)
    for first_token_only in (True, False):
        packed = PackedBert(read_weights(model), ATTENTIONS[attention], first_token_only=first_token_only)
        with torch.inference_mode():
            found = packed(pack(feeds, "cpu")).numpy()
        np.testing.assert_allclose(found, torch_logits(model, feeds), atol=1e-4)


@pytest.mark.parametrize("activation", ["relu", "gelu_new"])
def test_activations_are_the_models_own(activation: str) -> None:
    model = make_bert((4, 2), (64, 128), activation=activation)
    feeds = make_feeds(4, 12, padded=True)
    with torch.inference_mode():
        found = PackedBert(read_weights(model), grouped)(pack(feeds, "cpu")).numpy()
    np.testing.assert_allclose(found, torch_logits(model, feeds), atol=1e-4)


def test_a_text_without_tokens_is_refused() -> None:
    feeds = make_feeds(3, 10)
    feeds["attention_mask"][1] = 0
    with pytest.raises(CompressError, match="text 1 of the batch has no tokens"):
        pack(feeds, "cpu")


def test_bench_opens_it_as_a_backend(tiny_torch: Path) -> None:
    predictor = open_row(Row(tiny_torch, "torch-varlen-bf16"), threads=1)
    assert (predictor.backend, predictor.precision) == ("torch-varlen", "bf16")
    texts = ["good film", "a bad and boring story with a number of dull things", "fine"]
    found = predict_logits(predictor, texts)
    expected = predict_logits(open_row(Row(tiny_torch), threads=1), texts)
    np.testing.assert_allclose(found, expected, atol=0.05 * np.abs(expected).max())
    assert (found.argmax(1) == expected.argmax(1)).all()
    exact = predict_logits(VarlenBackend(load_classifier(str(tiny_torch)), "cpu", "fp32"), texts)
    np.testing.assert_allclose(exact, expected, atol=1e-4)


def within_texts(packed: Packed) -> Attend:
    """What a graph may read of a batch, and no more: where each text starts, and how long one can be."""
    starts = packed.starts.long()
    offsets = torch.arange(packed.longest)
    places = (starts[:-1, None] + offsets).clamp(max=len(packed.ids) - 1)
    inside = offsets < (starts[1:] - starts[:-1])[:, None]

    def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        # A kernel reads no value outside of the text; here those count nothing.
        one, two, three = (
            each[places].masked_fill(~inside[..., None, None], 0).transpose(1, 2) for each in (query, key, value)
        )
        found = functional.scaled_dot_product_attention(one, two, three, inside[:, None, None, :])
        context = torch.full_like(query, torch.nan)  # tokens of no text have no answer
        context[places[inside]] = found.transpose(1, 2)[inside]
        return context

    return attend


def test_a_larger_room_changes_no_answer_and_each_size_is_captured_once() -> None:
    model = make_bert(**UNEVEN, labels=3)  # type: ignore[arg-type]
    captured: list[tuple[int, int, int]] = []

    def capture(forward: Callable[[Packed], torch.Tensor], room: Packed) -> Callable[[], torch.Tensor]:
        captured.append((len(room.ids), len(room.starts) - 1, room.longest))
        return lambda: forward(room)

    replayed = StaticTokens(PackedBert(read_weights(model), within_texts), 48, capture)
    for batch, length in [(7, 20), (1, 7), (8, 14), (5, 33), (6, 17)]:
        feeds = make_feeds(batch, length, padded=True)
        with torch.inference_mode():
            found = replayed(pack(feeds, "cpu"))
        np.testing.assert_allclose(found.numpy(), torch_logits(model, feeds), atol=1e-4)
    assert len(captured) == len(set(captured)) < 5


@pytest.mark.parametrize("lengths", [[64], [3, 64, 61], [1], [17] * 500, [40, 2] * 700], ids=str)
def test_a_room_has_a_token_more_and_wastes_little(lengths: list[int]) -> None:
    mask = (np.arange(max(lengths)) < np.asarray(lengths)[:, None]).astype(np.int64)
    packed = pack({"input_ids": mask, "attention_mask": mask, "token_type_ids": 0 * mask}, "cpu")
    tokens, texts, longest = size_of(packed, 512)
    assert sum(lengths) < tokens <= max(1.125 * sum(lengths), sum(lengths) + 64)
    assert len(lengths) <= texts < 2 * len(lengths)
    assert longest >= max(lengths)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_every_attention_answers_alike_on_a_gpu(attention: str, precision: str) -> None:
    model, feeds = make_bert(**UNEVEN), make_feeds(9, 24, padded=True)  # type: ignore[arg-type]
    packed = PackedBert(read_weights(model), ATTENTIONS[attention]).to("cuda", DTYPES[precision])
    with torch.inference_mode():
        found = packed(pack(feeds, "cuda")).float().cpu().numpy()
    expected = torch_logits(model, feeds)
    np.testing.assert_allclose(found, expected, atol=0.05 * np.abs(expected).max())
    assert attention_for("cuda", precision) is flash


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_graphs_answer_alike_on_a_gpu(tiny_torch: Path) -> None:
    texts = ["good film", "a bad and boring story with a number of dull things", "fine"]
    found = predict_logits(open_row(Row(tiny_torch, "torch-varlen-fp16-graphs", "cuda"), threads=1), texts)
    expected = predict_logits(open_row(Row(tiny_torch), threads=1), texts)
    np.testing.assert_allclose(found, expected, atol=0.05 * np.abs(expected).max())
