"""The plan for a latency: which heads, neurons and layers to keep, found by the latency table and then measured."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from compress.config import PruneConfig
from compress.errors import CompressError
from compress.latency.deployment import Deployment, parameters
from compress.latency.table import LatencyTable, ModelShape, latency_table, settle, stored_timing
from compress.modeling.checkpoint import Checkpoint
from compress.modeling.widths import NEURON_BLOCK, Architecture, Cut, Widths
from compress.progress import say
from compress.pruning.importance import Importance
from compress.pruning.search import OutOfReachError, search

_ATTEMPTS = 4
_CLOSE_ENOUGH = 0.97
_HIDDEN_STEP = 16  # kernels work on blocks of columns
_NARROWEST = Widths((0,), (NEURON_BLOCK,))


@dataclass(frozen=True)
class PruningPlan:
    """A cut, and the size and speed of the model that it leaves."""

    cut: Cut
    hidden_size: int
    before: Widths  # the whole model's
    after: Widths  # 0 and 0 for a layer that is removed
    predicted_ms: float  # by the table, like those of each layer
    latency_ms: float  # measured, of a model of these widths
    whole_ms: float
    layer_ms: tuple[float, ...]
    size_bytes: int  # of the file that is served
    parameters: int
    kept: float  # share of the importance

    def as_metrics(self) -> dict[str, Any]:
        """The manifest's entries."""
        names = ("predicted_ms", "latency_ms", "whole_ms", "size_bytes", "parameters", "kept", "hidden_size")
        speedups = {"predicted_speedup": self.whole_ms / self.predicted_ms, "speedup": self.whole_ms / self.latency_ms}
        return speedups | {name: getattr(self, name) for name in names} | {"widths": asdict(self.after)}

    def __str__(self) -> str:
        lines = [
            f"plan: {self.latency_ms:.3g} ms (by the table {self.predicted_ms:.3g}) instead of {self.whole_ms:.3g}, "
            f"{self.whole_ms / self.latency_ms:.2f}x; {self.size_bytes / 1e6:.1f} MB, {self.parameters:,} parameters, "
            f"hidden size {self.hidden_size}, {self.kept:.1%} of the importance"
        ]
        pairs = zip(self.before.heads, self.before.neurons, self.after.heads, self.after.neurons, self.layer_ms)  # noqa: B905
        for layer, (heads, neurons, kept_heads, kept_neurons, layer_ms) in enumerate(pairs):
            units = f"{kept_heads:2} of {heads} heads, {kept_neurons:5,} of {neurons:,} neurons, {layer_ms:.3f} ms"
            lines.append(f"  layer {layer:2}: {units if kept_heads or kept_neurons else 'removed'}")
        return "\n".join(lines)


def find_plan(whole: Checkpoint, importance: Importance, deployment: Deployment, config: PruneConfig) -> PruningPlan:
    """The cut of ``whole`` that keeps most importance at the latency that ``config`` names.

    If no widths are that fast, smaller hidden sizes are tried too: three quarters, a half and a quarter.

    Raises:
        CompressError: nothing is fast enough, or the whole model is.
    """
    architecture, before = Architecture.of(whole.model), Widths.of(whole.model)
    whole_ms = latency_table(architecture, before, deployment).latency_ms(before)
    target_ms = config.target_latency_ms or whole_ms / (config.speedup or 1.0)
    if target_ms >= whole_ms:
        raise CompressError(
            f"prune.target_latency_ms {target_ms:g} needs no pruning: the model takes {whole_ms:.3g} ms here as it is; "
            "nothing was done"
        )
    fastest_ms = whole_ms
    for hidden_size in _hidden_sizes(architecture, config):
        goal = _Goal(architecture, hidden_size, before, target_ms, whole_ms, deployment)
        try:
            # The narrowest model is timed before a whole table is measured for nothing.
            if hidden_size < architecture.hidden_size and (narrowest_ms := goal.measured_ms(_NARROWEST)) > target_ms:
                raise OutOfReachError(narrowest_ms)
            return _best_plan(importance, goal)
        except OutOfReachError as error:
            fastest_ms = error.fastest_ms
    allow = "choose a smaller speed-up" if config.target_latency_ms is None else "allow more milliseconds"
    raise CompressError(
        f"prune: no widths reach {target_ms:.3g} ms; the fastest possible is {fastest_ms:.3g} ms, "
        f"{whole_ms / fastest_ms:.1f} times as fast as the model; {allow}"
    )


def _hidden_sizes(architecture: Architecture, config: PruneConfig) -> list[int]:
    """The hidden sizes to try in order: the setting's, or the model's own and three, two and one quarters of it."""
    if config.hidden_size is not None:
        return [config.hidden_size]
    whole = architecture.hidden_size
    return [whole, *(size for quarters in (3, 2, 1) if (size := whole * quarters // 4 // _HIDDEN_STEP * _HIDDEN_STEP))]


@dataclass(frozen=True)
class _Goal:
    """The hidden size and the latency that a plan must reach, the whole model, and where it is measured."""

    whole: Architecture
    hidden_size: int
    before: Widths
    target_ms: float
    whole_ms: float
    deployment: Deployment

    @property
    def architecture(self) -> Architecture:
        """The architecture of the planned models."""
        return replace(self.whole, hidden_size=self.hidden_size)

    def measured_ms(self, widths: Widths) -> float:
        """The latency of a model of these widths, timed once."""
        timing = stored_timing(
            ModelShape(self.architecture, widths), ModelShape(self.whole, self.before), self.deployment
        )
        return timing.ratio * self.whole_ms


def _best_plan(importance: Importance, goal: _Goal) -> PruningPlan:
    """The plan measured within the target that keeps most importance; without any, the fastest plan.

    A model of the widths that the search finds is timed. If it misses the target, the search is repeated with a budget
    that makes up for the difference.

    Raises:
        OutOfReachError: no widths are fast enough by the table.
    """
    table = latency_table(goal.architecture, goal.before, goal.deployment)
    plans: list[PruningPlan] = []
    budget_ms = goal.target_ms
    while len(plans) < _ATTEMPTS:
        try:
            cut = search(importance, table, budget_ms)
        except OutOfReachError:
            if plans:
                break
            raise
        if plans and cut.widths == plans[-1].after:
            break
        plans.append(_describe(cut, importance, table, goal))
        latency_ms = plans[-1].latency_ms
        if _CLOSE_ENOUGH * goal.target_ms <= latency_ms <= goal.target_ms:
            break
        budget_ms *= (1 + _CLOSE_ENOUGH) / 2 * goal.target_ms / latency_ms
    reached = [plan for plan in plans if plan.latency_ms <= goal.target_ms]
    if not reached:
        say(f"plan: none of {len(plans)} plans was measured within {goal.target_ms:.3g} ms; this is the fastest")
    return max(reached, key=lambda plan: plan.kept) if reached else min(plans, key=lambda plan: plan.latency_ms)


def measured(pruned: Checkpoint, whole: Checkpoint, deployment: Deployment) -> dict[str, float]:
    """The latency of ``pruned`` in its runtime, and that of ``whole`` in the same timing, and how much faster it is."""
    timing = settle(lambda: deployment.timer_of(pruned.model), lambda: deployment.timer_of(whole.model))
    latency_ms, speedup = timing.ratio * timing.whole_ms, 1 / timing.ratio
    say(f"pruned: {latency_ms:.3g} ms instead of {timing.whole_ms:.3g}, {speedup:.2f}x, measured")
    return {"latency_ms": latency_ms, "whole_ms": timing.whole_ms, "speedup": speedup}


def _describe(cut: Cut, importance: Importance, table: LatencyTable, goal: _Goal) -> PruningPlan:
    after = cut.widths
    scores = importance.heads + importance.neurons
    kept = sum(float(units[chosen].sum()) for units, chosen in zip(scores, cut.heads + cut.neurons, strict=True))
    return PruningPlan(
        cut=cut,
        hidden_size=goal.hidden_size,
        before=goal.before,
        after=after,
        predicted_ms=table.latency_ms(after),
        latency_ms=goal.measured_ms(after.inhabited),
        whole_ms=goal.whole_ms,
        layer_ms=table.layers_ms(after),
        size_bytes=goal.deployment.size_bytes(goal.architecture, after.inhabited),
        parameters=parameters(goal.architecture, after),
        kept=kept / max(sum(float(units.sum()) for units in scores), 1e-30),
    )
