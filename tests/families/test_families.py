"""Every family by its table: the graph's logits are those of transformers, and cut models save and reload."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import pytest
import torch
import transformers
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from compress.benchmark.backends.varlen import PackedBert, grouped, pack
from compress.errors import CompressError
from compress.families import FAMILIES
from compress.families.family import Family
from compress.families.view import EncoderView
from compress.graph.build import graph_of
from compress.graph.fp16 import check_range
from compress.graph.weights import read_weights
from compress.latency.deployment import parameters, random_model
from compress.modeling.narrow import narrow
from compress.modeling.pruned import set_heads
from compress.modeling.states import recording
from compress.modeling.surgery import cut_model
from compress.modeling.widths import Architecture, Cut, Widths
from tests.families.models import ALIKE, EVEN, LONGEST, UNEVEN, make_feeds, make_model
from tests.tiny import same_weights, torch_logits, weights_of

# Of those that are RoBERTa by another name, RoBERTa is enough to try each time.
EACH = [
    pytest.param(family, id=name, marks=pytest.mark.slow if name in ALIKE else ()) for name, family in FAMILIES.items()
]
each_family = pytest.mark.parametrize("family", EACH)
each_post_norm = pytest.mark.parametrize(
    "family", [each for each in EACH if FAMILIES[str(each.id)].builder == "post-norm"]
)
PADDING = ("none", "left", "right")


def graph_logits(model: PreTrainedModel, family: Family) -> Any:
    session = ort.InferenceSession(graph_of(model).SerializeToString())
    assert tuple(value.name for value in session.get_inputs()) == family.inputs
    return lambda feeds: session.run(["logits"], feeds)[0]


def logits_of(model: PreTrainedModel, family: Family) -> npt.NDArray[np.float32]:
    return np.concatenate([torch_logits(model, make_feeds(family, 5, 9, padding)) for padding in PADDING])


BATCHES: dict[int, tuple[int, ...]] = {1: (1, LONGEST), 7: (2, 33)}


def assert_parity(model: PreTrainedModel, family: Family, batches: dict[int, tuple[int, ...]] = BATCHES) -> None:
    model.set_attn_implementation("eager")
    answer = graph_logits(model, family)
    for batch, lengths in batches.items():
        for length in lengths:
            for padding in PADDING:
                feeds = make_feeds(family, batch, length, padding)
                apart = np.abs(answer(feeds) - torch_logits(model, feeds)).max()
                assert apart < 1e-4, (batch, length, padding)


@each_family
@pytest.mark.parametrize("widths", [EVEN, UNEVEN], ids=["even", "uneven"])
def test_the_graph_answers_as_transformers_does(family: Family, widths: Widths) -> None:
    assert_parity(make_model(family, widths, num_labels=3), family)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("roberta", {"pad_token_id": 5, "max_position_embeddings": LONGEST + 6, "type_vocab_size": 2}),
        ("roberta", {"num_labels": 1, "hidden_act": "relu"}),
        ("distilbert", {"hidden_act": "relu"}),
        ("electra", {"embedding_size": 64, "num_labels": 150}),
        ("electra", {"embedding_size": 96}),
        ("deberta-v2", {"share_att_key": False, "embedding_size": 64, "position_biased_input": True}),
        ("deberta-v2", {"pos_att_type": "c2p", "position_buckets": -1, "norm_rel_ebd": "none"}),
        ("deberta-v2", {"pos_att_type": "p2c", "max_relative_positions": 9, "position_buckets": -1}),
        ("deberta-v2", {"relative_attention": False, "pos_att_type": None, "position_biased_input": True}),
    ],
)
def test_the_graph_follows_what_configs_set_otherwise(name: str, settings: dict[str, Any]) -> None:
    assert_parity(make_model(FAMILIES[name], **settings), FAMILIES[name], {1: (1, LONGEST), 7: (9,)})


@each_post_norm
def test_without_padding_the_logits_are_the_same(family: Family) -> None:
    model = make_model(family, UNEVEN)
    feeds = make_feeds(family, 5, 20, "right")
    packed = pack({"token_type_ids": np.zeros_like(feeds["input_ids"])} | feeds, "cpu")
    found = PackedBert(read_weights(model), grouped)(packed).detach().numpy()
    assert np.abs(found - torch_logits(model, feeds)).max() < 1e-4


@each_family
def test_tokens_of_padding_inside_a_text_count_as_in_transformers(family: Family) -> None:
    model = make_model(family)
    feeds = make_feeds(family, 4, 12)
    feeds["input_ids"][:, 3:9:2] = EncoderView(model).pad_id
    assert np.abs(graph_logits(model, family)(feeds) - torch_logits(model, feeds)).max() < 1e-4


@each_post_norm
def test_the_longest_text_fills_the_table_of_positions(family: Family) -> None:
    model = make_model(family)
    assert EncoderView(model).longest == LONGEST
    with pytest.raises(IndexError if family.builder == "post-norm" else AttributeError):
        EncoderView(model).positions(torch.tensor([LONGEST + 2]))


@each_family
@pytest.mark.parametrize("cut", [Cut.whole_layers([0, 1, 2, 3], UNEVEN), Cut.whole_layers([0, 3], UNEVEN),
                                 Cut([[1], [], [], [0, 2]], [[5, 6], [3], [], []])],
                         ids=["nothing", "two layers", "units"])  # fmt: skip
def test_a_cut_model_answers_as_the_masked_one_and_reloads_bit_for_bit(
    cut: Cut, family: Family, tmp_path: Path
) -> None:
    model, silenced = make_model(family, UNEVEN), make_model(family, UNEVEN)
    masked = EncoderView(silenced)
    with torch.no_grad():
        for layer, heads, neurons in zip(masked.layers, cut.heads, cut.neurons, strict=True):
            columns = layer.attention_output.weight.reshape(64, -1, 16)
            columns[:, [head for head in range(layer.heads) if head not in heads]] = 0
            layer.ffn_output.weight[:, [one for one in range(layer.neurons) if one not in neurons]] = 0
    masked.stack = [masked.stack[index] for index in cut.layers]
    pruned = cut_model(model, cut)
    assert np.abs(logits_of(pruned, family) - logits_of(silenced, family)).max() < 1e-5
    assert Widths.of(pruned) == cut.widths.inhabited
    assert_reloads(pruned, family, tmp_path)


def assert_reloads(model: PreTrainedModel, family: Family, folder: Path) -> None:
    model.save_pretrained(folder)
    again = AutoModelForSequenceClassification.from_pretrained(folder)
    assert (again.config.model_type, type(again)) == (f"pruned_{family.model_type}", type(model))
    assert same_weights(weights_of(again), weights_of(model))
    # Where weights lie in memory decides the last bit.
    assert np.abs(logits_of(again, family) - logits_of(model, family)).max() < 1e-6


@each_family
def test_what_a_cut_sets_is_what_attention_reads_and_a_new_name_for_it_is_refused(family: Family) -> None:
    feeds = make_feeds(family, 2, 9)
    for name in family.parts.head_attributes:
        model = make_model(family)
        layer = EncoderView(model).layers[0]
        attention: Any = layer.attention
        before = torch_logits(model, feeds)
        setattr(attention, name, 2 * getattr(attention, name))
        with suppress(RuntimeError):  # shapes that no longer fit
            assert np.abs(torch_logits(model, feeds) - before).max() > 1e-7, name
        delattr(attention, name)
        with pytest.raises(CompressError, match=rf"transformers \S+ has no {name}, which pruned models need"):
            set_heads(layer, layer.heads)


@each_family
def test_narrower_copies_are_of_the_family(family: Family, tmp_path: Path) -> None:
    model = make_model(family)
    assert np.array_equal(logits_of(narrow(model), family), logits_of(model, family))
    stock = narrow(model, heads=2, ffn_size=48, hidden_size=32)
    assert type(stock) is getattr(transformers, family.classifier)
    assert Widths.of(stock) == Widths.even(4, 2, 48)
    # A matrix after the embeddings stays where it no longer changes the width, as with these 24.
    for number, hidden_size in enumerate((37, 24)):
        narrower = narrow(model, heads=2, ffn_size=48, hidden_size=hidden_size)
        assert EncoderView(narrower).hidden_size == hidden_size
        assert (EncoderView(narrower).projection is None) == (family.embeddings.projection is None)
        assert_reloads(narrower, family, tmp_path / str(number))
        narrower.set_attn_implementation("eager")
        feeds = make_feeds(family, 5, 9, "left")
        assert np.abs(graph_logits(narrower, family)(feeds) - torch_logits(narrower, feeds)).max() < 1e-4


@pytest.mark.parametrize("name", ["electra", "deberta-v2"])
def test_a_model_without_a_projection_is_narrowed_too(name: str) -> None:
    """As all published DeBERTa-v3 and the base size of ELECTRA are."""
    family = FAMILIES[name]
    narrower = narrow(make_model(family, embedding_size=64), heads=2, ffn_size=48, hidden_size=32)
    assert (EncoderView(narrower).projection, EncoderView(narrower).hidden_size) == (None, 32)
    narrower.set_attn_implementation("eager")
    feeds = make_feeds(family, 5, 9, "left")
    assert np.abs(graph_logits(narrower, family)(feeds) - torch_logits(narrower, feeds)).max() < 1e-4


@each_family
def test_the_range_for_fp16_is_that_of_what_is_read(family: Family) -> None:
    """Neither the number that hides padding nor what other texts would give: the largest value is a real one."""
    graph = graph_of(make_model(family))
    alone, padded = make_feeds(family, 1, 9), make_feeds(family, 1, 9)
    padded = {each: np.pad(array, ((0, 0), (0, 7))) for each, array in padded.items()}
    assert 1 < check_range(graph, [alone], 1) < 1000
    assert check_range(graph, [padded], 1) < 1000


@each_family
def test_models_to_time_are_of_its_shape(family: Family) -> None:
    model = make_model(family, UNEVEN)
    architecture = Architecture.of(model)
    found = random_model(architecture, UNEVEN)
    assert Architecture.of(found) == architecture
    assert parameters(architecture, UNEVEN) == found.num_parameters() == model.num_parameters()
    named = [[tensor.name for tensor in graph_of(one).graph.initializer] for one in (model, found)]
    assert named[0] == named[1]


@each_family
def test_states_are_as_wide_as_a_token(family: Family) -> None:
    model = make_model(family)
    with recording(model, ["embeddings", "hidden.0", *(() if family.parts.fused else ("query.3",))]) as states:
        torch_logits(model, make_feeds(family, 2, 5))
    assert {state.shape for name, state in states.items() if name != "logits"} == {(2, 5, 64)}
