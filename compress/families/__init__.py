"""Families of encoders: one table for each, and views that find a model's parts by it."""

from typing import Any

from compress.errors import CompressError
from compress.families.bert import BERT
from compress.families.distilbert import DISTILBERT
from compress.families.electra import ELECTRA
from compress.families.family import PRUNED, Family
from compress.families.roberta import CAMEMBERT, ROBERTA, XLM_ROBERTA

FAMILIES = {family.model_type: family for family in (BERT, DISTILBERT, ROBERTA, XLM_ROBERTA, CAMEMBERT, ELECTRA)}
# Settings of configs that change the arithmetic, with the only value that all families' graphs compute.
_ONLY = {"position_embedding_type": "absolute", "is_decoder": False, "add_cross_attention": False}


def family_of(config: Any, source: str = "the model") -> Family:
    """The family of a Hugging Face ``config``, also of a pruned model's; ``source`` is named in errors.

    Raises:
        CompressError: the family is not known (names those that are), or a setting changes what a model computes.
    """
    family = FAMILIES.get(config.model_type.removeprefix(PRUNED))
    if family is None:
        known = ", ".join(f"{family.name} (model_type {name})" for name, family in FAMILIES.items())
        raise CompressError(f"{source}: is a {config.model_type} model; compress works on {known}")
    for setting, only in _ONLY.items():
        if (found := getattr(config, setting, only)) != only:
            raise CompressError(
                f"{source}: has {setting} {found!r} in its config.json; compress works on {only!r} alone"
            )
    return family
