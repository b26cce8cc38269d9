"""ModernBERT (Warner et al. 2024): norms before the blocks, rotary positions, gates in the FFN, windows in attention."""

from compress.families.family import Dense, Embeddings, Family, Parts
from compress.runtime.graph_file import REQUIRED_INPUTS

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
        head_size_name="head_dim",
        fused=True,
    ),
    embeddings=Embeddings(
        output="model.embeddings",
        words="model.embeddings.tok_embeddings",
        positions=None,
        norm="model.embeddings.norm",
    ),
    head=(Dense("head.dense", setting="classifier_activation"), Dense("classifier")),
    config_names={"hidden_act": "hidden_activation", "layer_norm_eps": "norm_eps"},
    tokenizer="BPE",
    builder="modernbert",
    final_norm="model.final_norm",
    head_norm="head.norm",
)
