"""RoBERTa (Liu et al. 2019); XLM-R (Conneau et al. 2020) and CamemBERT (Martin et al. 2020) differ by name."""

from dataclasses import replace

from compress.families.bert import BERT, tables_of
from compress.families.family import Dense, Family
from compress.runtime.graph_file import REQUIRED_INPUTS

ROBERTA = Family(
    name="RoBERTa",
    model_type="roberta",
    config="RobertaConfig",
    classifier="RobertaForSequenceClassification",
    inputs=REQUIRED_INPUTS,  # its table of segments has one row, for all texts
    layers="roberta.encoder.layer",
    parts=BERT.parts,
    embeddings=tables_of("roberta"),
    head=(Dense("classifier.dense", "tanh"), Dense("classifier.out_proj")),
    tokenizer="BPE",
    counts_tokens=True,
)
XLM_ROBERTA = replace(
    ROBERTA,
    name="XLM-R",
    model_type="xlm-roberta",
    config="XLMRobertaConfig",
    classifier="XLMRobertaForSequenceClassification",
    tokenizer="Unigram",
)
CAMEMBERT = replace(
    ROBERTA,
    name="CamemBERT",
    model_type="camembert",
    config="CamembertConfig",
    classifier="CamembertForSequenceClassification",
    tokenizer="Unigram",
)
