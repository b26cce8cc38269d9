"""Families of encoders: one table for each, and views that find a model's parts by it."""

from typing import Any

from compress.errors import CompressError
from compress.families.bert import BERT
from compress.families.distilbert import DISTILBERT
from compress.families.family import PRUNED, Family

FAMILIES = {family.model_type: family for family in (BERT, DISTILBERT)}


def family_of(config: Any) -> Family:
    """The family that a Hugging Face ``config`` is of; pruned models are of the family that they were cut from.

    Raises:
        CompressError: it is of none that is known; names those that are.
    """
    family = FAMILIES.get(config.model_type.removeprefix(PRUNED))
    if family is None:
        known = ", ".join(f"{family.name} (model_type {name})" for name, family in FAMILIES.items())
        raise CompressError(f"is a {config.model_type} model; compress works on {known}")
    return family
