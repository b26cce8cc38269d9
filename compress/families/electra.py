"""ELECTRA (Clark et al. 2020): BERT with narrower embeddings, which a matrix widens, and a head of its own."""

from compress.families.bert import BERT
from compress.families.family import Dense, Embeddings, Family
from compress.runtime.graph_file import INPUTS

ELECTRA = Family(
    name="ELECTRA",
    model_type="electra",
    config="ElectraConfig",
    classifier="ElectraForSequenceClassification",
    inputs=INPUTS,
    layers="electra.encoder.layer",
    parts=BERT.parts,
    embeddings=Embeddings(
        output="electra.embeddings",
        words="electra.embeddings.word_embeddings",
        positions="electra.embeddings.position_embeddings",
        norm="electra.embeddings.LayerNorm",
        segments="electra.embeddings.token_type_embeddings",
        projection="electra.embeddings_project",
    ),
    head=(Dense("classifier.dense", "gelu"), Dense("classifier.out_proj")),
)
