"""BERT (Devlin et al. 2019)."""

from compress.families.family import Dense, Embeddings, Family, Parts
from compress.runtime.graph_file import INPUTS

BERT = Family(
    name="BERT",
    model_type="bert",
    config="BertConfig",
    classifier="BertForSequenceClassification",
    inputs=INPUTS,
    layers="bert.encoder.layer",
    parts=Parts(
        attention="attention.self",
        query="attention.self.query",
        key="attention.self.key",
        value="attention.self.value",
        attention_output="attention.output.dense",
        attention_norm="attention.output.LayerNorm",
        ffn_input="intermediate.dense",
        ffn_output="output.dense",
        ffn_norm="output.LayerNorm",
        width_name="all_head_size",
    ),
    embeddings=Embeddings(
        output="bert.embeddings",
        words="bert.embeddings.word_embeddings",
        positions="bert.embeddings.position_embeddings",
        norm="bert.embeddings.LayerNorm",
        segments="bert.embeddings.token_type_embeddings",
    ),
    head=(Dense("bert.pooler.dense", "tanh"), Dense("classifier")),
)
