"""ModernBERT (Warner et al. 2024): norms before blocks, rotary positions, gates in the FFN, windows in attention."""

from typing import Any

from compress.families.family import ACTIVATIONS, Dense, Embeddings, Family, Parts
from compress.runtime.graph_file import REQUIRED_INPUTS


def _refusal(config: Any) -> str | None:
    """Why the graph cannot compute a model of ``config``, None if it can."""
    if config.classifier_activation not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        return f"the activation of its head is {config.classifier_activation}, which cannot be exported; {known} can"
    kinds = {parameters["rope_type"] for parameters in config.rope_parameters.values()} - {"default"}
    if kinds:
        return f"its rotary positions are scaled (rope_type {min(kinds)}), which cannot be exported; default can"
    return None


MODERNBERT = Family(
    name="ModernBERT",
    model_type="modernbert",
    config="ModernBertConfig",
    classifier="ModernBertForSequenceClassification",
    inputs=REQUIRED_INPUTS,
    layers="model.layers",
    parts=Parts(
        attention="attn",
        query="attn.Wqkv",
        key="attn.Wqkv",
        value="attn.Wqkv",
        attention_output="attn.Wo",
        attention_norm="attn_norm",  # the first layer has none: the embeddings end with a norm
        ffn_input="mlp.Wi",
        ffn_output="mlp.Wo",
        ffn_norm="mlp_norm",
        head_attributes=("head_dim",),
        fused=True,
        norms_first=True,
    ),
    embeddings=Embeddings(
        output="model.embeddings",
        words="model.embeddings.tok_embeddings",
        positions=None,
        norm="model.embeddings.norm",
    ),
    head=(Dense("head.dense"), Dense("classifier")),
    config_names={"hidden_act": "hidden_activation", "layer_norm_eps": "norm_eps"},
    tokenizer="BPE",
    builder="modernbert",
    own_settings=(
        *("attention_bias", "mlp_bias", "norm_bias", "classifier_bias", "classifier_activation"),
        *("local_attention", "classifier_pooling", "layer_types"),
    ),
    unread=("decoder.weight", "decoder.bias"),
    refusal=_refusal,
    rotary_positions="model.rotary_emb",
    final_norm="model.final_norm",
    head_norm="head.norm",
)
