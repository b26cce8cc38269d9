"""DistilBERT (Sanh et al. 2019): BERT without segments, and a head of its own."""

from dataclasses import replace

from compress.families.bert import tables_of
from compress.families.family import Dense, Family, Parts
from compress.runtime.graph_file import REQUIRED_INPUTS

DISTILBERT = Family(
    name="DistilBERT",
    model_type="distilbert",
    config="DistilBertConfig",
    classifier="DistilBertForSequenceClassification",
    inputs=REQUIRED_INPUTS,
    layers="distilbert.transformer.layer",
    parts=Parts(
        attention="attention",
        query="attention.q_lin",
        key="attention.k_lin",
        value="attention.v_lin",
        attention_output="attention.out_lin",
        attention_norm="sa_layer_norm",
        ffn_input="ffn.lin1",
        ffn_output="ffn.lin2",
        ffn_norm="output_layer_norm",
    ),
    embeddings=replace(tables_of("distilbert"), segments=None),
    head=(Dense("pre_classifier", "relu"), Dense("classifier")),
    config_names={
        "hidden_size": "dim",
        "num_hidden_layers": "n_layers",
        "num_attention_heads": "n_heads",
        "intermediate_size": "hidden_dim",
        "hidden_act": "activation",
    },
)
