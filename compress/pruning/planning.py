"""Finds the plan for a latency: searched by the table, measured before anything is trained, and again afterwards."""

from dataclasses import dataclass, replace

from compress.config import PruneConfig
from compress.errors import CompressError
from compress.latency.deployment import Deployment
from compress.latency.table import LatencyTable
from compress.latency.timings import latency_table, settle
from compress.modeling.checkpoint import Checkpoint
from compress.modeling.widths import NEURON_BLOCK, Architecture, Cut, Widths, parameters
from compress.progress import say
from compress.pruning.importance import Importance
from compress.pruning.plan import PruningPlan
from compress.pruning.search import OutOfReachError, search

_TRIES = 4
_CLOSE_ENOUGH = 0.97
_HIDDEN_STEP = 16  # kernels work on blocks of columns
_SLIMMEST = Widths((0,), (NEURON_BLOCK,))


def find_plan(whole: Checkpoint, importance: Importance, deployment: Deployment, config: PruneConfig) -> PruningPlan:
    """The cut of ``whole`` that keeps most importance at the latency that ``config`` asks for.

    Where no widths are that fast, the hidden size goes down too, by quarters, until some are.

    Raises:
        CompressError: nothing is fast enough, or the model is already.
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
            if hidden_size < architecture.hidden_size:
                goal.require_within_reach()
            return _best_plan(importance, goal)
        except OutOfReachError as error:
            fastest_ms = error.fastest_ms
    raise CompressError(
        f"prune: no widths reach {target_ms:.3g} ms; the fastest possible is {fastest_ms:.3g} ms, "
        f"{whole_ms / fastest_ms:.1f} times as fast as the model; ask for less"
    )


def _hidden_sizes(architecture: Architecture, config: PruneConfig) -> list[int]:
    """Those to try, in this order: the one that is asked for, or the model's and what quarters of it leave."""
    if config.hidden_size is not None:
        return [config.hidden_size]
    whole = architecture.hidden_size
    return [whole, *(size for quarters in (3, 2, 1) if (size := whole * quarters // 4 // _HIDDEN_STEP * _HIDDEN_STEP))]


@dataclass(frozen=True)
class _Goal:
    """What a plan is for: the model as it is, the hidden size and latency to reach, and where that is measured."""

    whole: Architecture
    hidden_size: int
    before: Widths
    target_ms: float
    whole_ms: float
    deployment: Deployment

    @property
    def architecture(self) -> Architecture:
        """Of the models that are planned."""
        return replace(self.whole, hidden_size=self.hidden_size)

    def measured_ms(self, widths: Widths) -> float:
        """The latency of a model of these widths."""
        timer = self.deployment.timer
        timing = settle(lambda: timer(self.architecture, widths), lambda: timer(self.whole, self.before))
        return timing.ratio * self.whole_ms

    def require_within_reach(self) -> None:
        """Time the fastest model there is, before a whole table is measured for nothing.

        Raises:
            OutOfReachError: it is not fast enough.
        """
        fastest_ms = self.measured_ms(_SLIMMEST)
        if fastest_ms > self.target_ms:
            raise OutOfReachError(fastest_ms)


def _best_plan(importance: Importance, goal: _Goal) -> PruningPlan:
    """The plan that keeps most of what is measured within the target; else the fastest.

    A model of the widths that the table leads to is timed; where it is off the target, the search is asked for more or
    less.

    Raises:
        OutOfReachError: no widths are fast enough by the table.
    """
    table = latency_table(goal.architecture, goal.before, goal.deployment)
    plans: list[PruningPlan] = []
    budget_ms = goal.target_ms
    while len(plans) < _TRIES:
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
        say(f"plan: none of {len(plans)} was measured within {goal.target_ms:.3g} ms; this is the fastest of them")
    return max(reached, key=lambda plan: plan.kept) if reached else min(plans, key=lambda plan: plan.latency_ms)


def measured(pruned: Checkpoint, whole: Checkpoint, deployment: Deployment) -> dict[str, float]:
    """The latency of ``pruned`` in its runtime, and how many times faster than ``whole`` it is."""
    timing = settle(lambda: deployment.timer_of(pruned.model), lambda: deployment.timer_of(whole.model))
    found = {"latency_ms": timing.ratio * timing.whole_ms, "speedup": 1 / timing.ratio}
    say(f"pruned: {found['latency_ms']:.3g} ms instead of {timing.whole_ms:.3g}, {found['speedup']:.2f}x, measured")
    return found


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
