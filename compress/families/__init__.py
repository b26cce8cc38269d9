"""Families of encoders: a table for each, and views that find a model's parts by its family's table."""

from typing import Any

from compress.errors import CompressError
from compress.families.bert import BERT
from compress.families.deberta import DEBERTA
from compress.families.distilbert import DISTILBERT
from compress.families.electra import ELECTRA
from compress.families.family import PRUNED, Family
from compress.families.modernbert import MODERNBERT
from compress.families.roberta import CAMEMBERT, ROBERTA, XLM_ROBERTA

FAMILIES = {
    family.model_type: family
    for family in (BERT, DISTILBERT, ROBERTA, XLM_ROBERTA, CAMEMBERT, ELECTRA, DEBERTA, MODERNBERT)
}


def family_of(config: Any, source: str = "the model") -> Family:
    """The family of a Hugging Face ``config``, also of a pruned model's; ``source`` is named in errors.

    Raises:
        CompressError: the family is not known; the message names those that are.
    """
    family = FAMILIES.get(config.model_type.removeprefix(PRUNED))
    if family is None:
        known = ", ".join(f"{family.name} (model_type {name})" for name, family in FAMILIES.items())
        raise CompressError(f"{source}: is a {config.model_type} model; compress works on {known}")
    return family
