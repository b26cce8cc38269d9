"""ELECTRA (Clark et al. 2020): BERT with narrower embeddings, which a matrix widens, and a head of its own."""

from dataclasses import replace

from compress.families.bert import BERT, tables_of
from compress.families.family import Dense

ELECTRA = replace(
    BERT,
    name="ELECTRA",
    model_type="electra",
    config="ElectraConfig",
    classifier="ElectraForSequenceClassification",
    layers="electra.encoder.layer",
    embeddings=replace(tables_of("electra"), projection="electra.embeddings_project"),
    head=(Dense("classifier.dense", "gelu"), Dense("classifier.out_proj")),
)
