"""Tiny models of every family with random weights, and batches as its clients send them."""

from typing import Any

import numpy as np
import torch
import transformers
from transformers import PreTrainedModel

from compress.families.family import Family
from compress.modeling.checkpoint import quiet_transformers
from compress.modeling.pruned import pruned_classifier, pruned_config
from compress.modeling.widths import Widths
from compress.runtime.encoding import Feeds
from tests.tiny import VOCABULARY

EVEN, UNEVEN = Widths.even(4, 4, 128), Widths((4, 0, 2, 3), (128, 64, 0, 32))
LONGEST = 64
ALIKE = ("xlm-roberta", "camembert")  # RoBERTa by another name, but for the tokenizer
SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 128,
}


def pad_id(family: Family) -> int:
    """The id that its tokenizers pad with."""
    return 1 if family.counts_tokens else 0


def settings_of(family: Family) -> dict[str, Any]:
    """Those of a tiny model of the family by the names of its own config, with its usual tables."""
    shape = SHAPE | {"max_position_embeddings": LONGEST + (2 if family.counts_tokens else 0)}
    if "token_type_ids" not in family.inputs and family.embeddings.segments:
        shape["type_vocab_size"] = 1
    if family.embeddings.projection:
        shape["embedding_size"] = 24
    if family.relative_positions:  # as DeBERTa-v3, with fewer buckets than most texts have tokens
        shape |= {"relative_attention": True, "position_buckets": 8, "norm_rel_ebd": "layer_norm"}
        shape |= {"pos_att_type": ["p2c", "c2p"], "share_att_key": True, "position_biased_input": False}
    if family.parts.fused:  # a window that is shorter than most texts, and the ids of a small vocabulary
        tokens = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}
        shape |= tokens | {"local_attention": 8}
    return family.renamed(shape)


def make_model(family: Family, widths: Widths = EVEN, **settings: Any) -> PreTrainedModel:
    """A classifier whose weights are none of them 0 or 1 as a fresh model's are."""
    torch.manual_seed(0)
    shape = settings_of(family) | family.renamed(settings)
    if widths == EVEN:
        config, kind = getattr(transformers, family.config), getattr(transformers, family.classifier)
    else:
        config, kind = pruned_config(family), pruned_classifier(family)
        shape |= {"heads_per_layer": list(widths.heads), "neurons_per_layer": list(widths.neurons)}
        shape |= {"attention_head_size": 16}
    with quiet_transformers():
        model: PreTrainedModel = kind(config(**shape))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.normal_(1.0 if name.lower().endswith("norm.weight") else 0.0, 0.2)
    model.train(mode=False)
    return model


def make_feeds(family: Family, batch: int, length: int, padding: str = "none") -> Feeds:
    """Random tokens in two segments; rows padded on the ``left`` or ``right`` have 1 to ``length`` of them."""
    rng = np.random.default_rng([batch, length])
    ids = rng.integers(5, VOCABULARY, (batch, length))
    segments = (np.arange(length) >= rng.integers(1, length + 1, (batch, 1))).astype(np.int64)
    lengths = np.full((batch, 1), length) if padding == "none" else rng.integers(1, length + 1, (batch, 1))
    kept = (np.arange(length) < lengths).astype(np.int64)
    feeds = {
        "input_ids": np.where(kept, ids, pad_id(family)),
        "attention_mask": kept,
        "token_type_ids": segments * kept,
    }
    if padding == "left":
        feeds = {name: array[:, ::-1].copy() for name, array in feeds.items()}
    return {name: feeds[name] for name in family.inputs}
