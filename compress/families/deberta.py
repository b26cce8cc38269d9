"""DeBERTa-v2 and v3 (He et al. 2021): attention also between tokens and distances, which have vectors of their own."""

from dataclasses import replace
from typing import Any

from compress.families.bert import BERT, tables_of
from compress.families.family import Dense, Family, RelativePositions
from compress.runtime.graph_file import REQUIRED_INPUTS


def refusal(config: Any) -> str | None:
    """Why the graph cannot compute a model of ``config``, None if it can."""
    if getattr(config, "conv_kernel_size", 0) > 0:
        return "has a convolution after its first layer (conv_kernel_size), as DeBERTa-v2 xlarge; give one without"
    if config.type_vocab_size > 0:
        return f"has {config.type_vocab_size} segments (type_vocab_size); give one without, as the published ones are"
    if config.pooler_hidden_act != "gelu":
        return f"has {config.pooler_hidden_act} after its pooler (pooler_hidden_act); give one with gelu"
    if config.pooler_hidden_size != config.hidden_size:
        return f"has a pooler of {config.pooler_hidden_size} (pooler_hidden_size), not of the hidden size"
    return None


DEBERTA = Family(
    name="DeBERTa-v2/v3",
    model_type="deberta-v2",
    config="DebertaV2Config",
    classifier="DebertaV2ForSequenceClassification",
    inputs=REQUIRED_INPUTS,
    layers="deberta.encoder.layer",
    parts=replace(
        BERT.parts,
        query="attention.self.query_proj",
        key="attention.self.key_proj",
        value="attention.self.value_proj",
        head_attributes=("num_attention_heads",),
        position_projections=("attention.self.pos_key_proj", "attention.self.pos_query_proj"),
    ),
    embeddings=replace(
        tables_of("deberta"), segments=None, projection="deberta.embeddings.embed_proj", projects_first=True
    ),
    head=(Dense("pooler.dense", "gelu"), Dense("classifier")),
    tokenizer="Unigram",
    builder="disentangled",
    relative_positions=RelativePositions("deberta.encoder.rel_embeddings", "deberta.encoder.LayerNorm"),
    own_settings=(
        *("relative_attention", "max_relative_positions", "position_buckets", "norm_rel_ebd"),
        *("pos_att_type", "share_att_key", "position_biased_input"),
    ),
    repeats_hidden_size=("pooler_hidden_size",),
    refusal=refusal,
)
