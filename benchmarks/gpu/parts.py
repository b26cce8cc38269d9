"""The parts of the measurement in the order of their worth, and each one's share of the time."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from benchmarks.gpu import commands, fidelity, serving
from benchmarks.gpu.material import make_all
from benchmarks.gpu.rates import rates
from benchmarks.gpu.serving import Emit
from benchmarks.gpu.setting import LARGE, PRUNED, STUDENT, TEACHER, Setting


@dataclass(frozen=True)
class Part:
    """Something to measure in a process of its own.

    Attributes:
        name: as the results have it.
        share: of the time, in seconds of eleven minutes.
        run: measures, and emits rows as soon as they are known; it is told how many seconds it should take.
        options: what else ``run`` is given.
    """

    name: str
    share: float
    run: Callable[..., None]
    options: dict[str, Any] = field(default_factory=dict)

    def __call__(self, setting: Setting, emit: Emit, seconds: float) -> None:
        """Measure."""
        self.run(setting, emit, seconds, **self.options)


def _make(setting: Setting, emit: Emit, _: float) -> None:
    make_all(setting)
    emit({"models": sorted(setting.shapes), "texts": setting.texts})


PARTS = (
    Part("make", 15, _make),
    Part("rates", 10, rates),
    Part(f"serve {TEACHER}", 40, serving.serve, {"model": TEACHER}),
    Part(f"serve {STUDENT}", 40, serving.serve, {"model": STUDENT}),
    Part(f"unpadded {STUDENT}", 40, serving.unpadded, {"model": STUDENT}),
    Part("logits", 40, fidelity.logits),
    Part("bench", 120, commands.bench),
    Part("distill", 60, commands.distill),
    Part("prune, batch 1", 90, commands.prune, {"batch": 1}),
    Part(f"unpadded {TEACHER}", 30, serving.unpadded, {"model": TEACHER}),
    Part(f"serve {LARGE}", 35, serving.serve, {"model": LARGE}),
    Part(f"unpadded {LARGE}", 25, serving.unpadded, {"model": LARGE}),
    Part(f"serve {PRUNED}", 20, serving.serve, {"model": PRUNED}),
    Part("onnxruntime", 10, fidelity.onnxruntime, {"model": STUDENT}),
    Part("prune, batch 64", 60, commands.prune, {"batch": 64}),
)
