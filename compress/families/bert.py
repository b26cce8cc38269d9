"""BERT (Devlin et al. 2019)."""

from compress.families.family import Dense, Embeddings, Family, Parts
from compress.runtime.graph_file import INPUTS


def tables_of(encoder: str) -> Embeddings:
    """The embeddings of a family that has BERT's names for them, in the module ``encoder``."""
    tables = f"{encoder}.embeddings"
    return Embeddings(
        output=tables,
        words=f"{tables}.word_embeddings",
        positions=f"{tables}.position_embeddings",
        norm=f"{tables}.LayerNorm",
        segments=f"{tables}.token_type_embeddings",
    )


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
    ),
    embeddings=tables_of("bert"),
    head=(Dense("bert.pooler.dense", "tanh"), Dense("classifier")),
)
