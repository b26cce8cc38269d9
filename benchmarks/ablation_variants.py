"""The models of ablation.py: the whole way, and what each other model leaves out of it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from benchmarks.ablation_table import OUR_GRAPH, STATIC, WHOLE
from benchmarks.distillation import LABELS_ALONE

TEACHERS_COUNT = 3

Settings = dict[str, Any]
Stage = Literal["student", "pruned"]


@dataclass(frozen=True)
class Variant:
    """How a model is made; what is not said is as in the whole way.

    Attributes:
        distill: settings of its student, other than the usual ones.
        teachers: how many it learns from.
        from_teacher: whether its layers begin as the teacher's, or at random.
        prune: settings of its recovery, other than the usual ones.
        search: whether the cut is searched for, or the same in every layer, by magnitude, at the same latency.
        vocabulary: whether tokens that the texts lack are removed.
        form: ``static`` or ``dynamic`` int8, ``fp32``, or ``stock``: the usual export and its dynamic int8.
    """

    distill: Settings = field(default_factory=dict)
    teachers: int = TEACHERS_COUNT
    from_teacher: bool = True
    prune: Settings = field(default_factory=dict)
    search: bool = True
    vocabulary: bool = True
    form: str = "static"

    @property
    def student(self) -> "Variant":
        """What its student depends on; what comes later is as usual."""
        return Variant(self.distill, self.teachers, self.from_teacher)

    @property
    def pruned(self) -> "Variant":
        """The same of its pruned model."""
        return replace(self.student, prune=self.prune, search=self.search)


VARIANTS: dict[str, Variant] = {
    WHOLE: Variant(),
    "distillation, with its copies": Variant(
        LABELS_ALONE | {"relation_weight": 0.0, "augment": 0}, teachers=1, prune=LABELS_ALONE
    ),
    "relation loss": Variant({"relation_weight": 0.0}),
    "start from the teacher's layers": Variant(from_teacher=False),
    "several teachers": Variant(teachers=1),
    "altered copies of texts": Variant({"augment": 0}),
    "search (uniform by magnitude)": Variant(search=False),
    "smaller vocabulary": Variant(vocabulary=False),
    OUR_GRAPH: Variant(form="stock"),  # which has dynamic int8
    STATIC: Variant(form="dynamic"),
    "int8": Variant(form="fp32"),
}


def slug(title: str) -> str:
    """For names of tasks and folders."""
    return re.sub(r"\W+", "-", title).strip("-")


def made_by(stage: Stage, variant: Variant) -> str:
    """The variant that makes the student or the pruned model of this one: the first of those that have the same."""
    return next(name for name, each in VARIANTS.items() if getattr(each, stage) == getattr(variant, stage))


def makers(stage: Stage) -> Iterator[str]:
    """The variants that make one."""
    yield from (name for name, each in VARIANTS.items() if made_by(stage, each) == name)


def place_of(stage: Stage, variant: Variant, seed: int) -> str:
    """Where the student or the pruned model of a variant is, and the end of its task's name."""
    return f"{stage}/{slug(made_by(stage, variant))}-{seed}"
