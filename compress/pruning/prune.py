"""prune: remove tokens, layers, heads, neurons and hidden dimensions from a model, then train it to recover."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from compress.config import PruneConfig
from compress.data import Dataset
from compress.distillation.distill import distill
from compress.errors import CompressError
from compress.evaluation.metrics import positive_column, reported_metric, score
from compress.families.view import EncoderView
from compress.latency.deployment import Deployment, deployment_of
from compress.machine import torch_device
from compress.modeling.checkpoint import Checkpoint
from compress.modeling.narrow import narrow
from compress.modeling.surgery import choose_layers, cut_model, spans
from compress.modeling.torch_predictor import TorchPredictor
from compress.modeling.widths import Cut, Widths
from compress.progress import say
from compress.pruning.importance import Importance
from compress.pruning.planning import PruningPlan, find_plan, measured
from compress.pruning.ranking import rank
from compress.pruning.reconstruct import reconstruct
from compress.pruning.rounds import Budget, choose, plan_rounds
from compress.pruning.vocabulary import compare_reading, cut_vocabulary, texts_to_read
from compress.runtime.predictor import encoded_logits
from compress.task import reads_pairs
from compress.training.batches import Examples
from compress.training.finetune import EncodedSplits, encode
from compress.training.run_files import RunFiles
from compress.training.validator import TrainingResult


@dataclass(frozen=True)
class Start:
    """The model that is cut, and its data."""

    given: Checkpoint  # the user's model
    model: Checkpoint  # the same without the tokens that the settings remove
    encoded: EncodedSplits  # the data as tokens of ``model``
    sample: Examples  # train texts that importance and least squares are measured on

    @classmethod
    def of(cls, given: Checkpoint, data: Dataset, config: PruneConfig, text_columns: Sequence[str] = ()) -> "Start":
        """Cut the vocabulary of a copy of ``given`` and tokenize the data, once.

        Raises:
            CompressError: ``config`` names layers or a hidden size that ``given`` does not have.
        """
        _check(given, config)
        model = cut_vocabulary(given, texts_to_read(data, config, text_columns)) if config.vocabulary else given
        encoded = EncodedSplits.of(model, data)
        rows = np.random.default_rng(config.seed).permutation(len(encoded.train))[: config.samples]
        return cls(given, model, encoded, encoded.train.sample(rows))


@dataclass(frozen=True)
class Target:
    """A latency to reach: where it is measured, and the plan for it."""

    deployment: Deployment
    plan: PruningPlan


def find_target(start: Start, data: Dataset, config: PruneConfig, threads: int) -> Target:
    """Find the plan for the latency that ``config`` names, and show it; layers that ``config`` leaves out are removed.

    Raises:
        CompressError: the latency cannot be measured or reached.
    """
    deployment = deployment_of(start.model, data, config, threads)
    importance, kept = rank(start.model, start.sample, config), _kept_layers(start.model, config)
    heads, neurons = (
        [scores if layer in kept else scores[:0] for layer, scores in enumerate(units)]
        for units in (importance.heads, importance.neurons)
    )
    plan = find_plan(start.model, Importance(heads, neurons), deployment, config)
    say(str(plan))
    return Target(deployment, plan)


def prune(
    start: Start,
    teacher: Checkpoint,
    data: Dataset,
    config: PruneConfig,
    run_files: RunFiles,
    text_columns: Sequence[str] = (),
    target: Target | None = None,
) -> tuple[Checkpoint, dict[str, Any]]:
    """A smaller copy of ``start.model``, recovered by distillation from ``teacher``, and its metrics.

    Layers are removed first, then heads and neurons in one round or several; hidden dimensions are removed in the first
    round. With a ``target`` the layers, heads and neurons of its plan are removed at once.
    """
    plan = target.plan if target else None
    cut = plan.cut if plan else Cut.whole_layers(_kept_layers(start.model, config), Widths.of(start.model.model))
    config = _imitating(config, cut.layers, start.model, teacher)
    pruned = _cut(start.model, cut, start.sample, config) if plan or config.layers else start.model
    hidden_size = plan.hidden_size if plan else config.hidden_size
    widths = Widths.of(pruned.model)
    result: TrainingResult | None = None
    for part in plan_rounds(sum(widths.heads), sum(widths.neurons), config):
        pruned = _with_fewer_units(pruned, part.budget, start.sample, config)
        if part.number == 1 and hidden_size not in (None, EncoderView(pruned.model).hidden_size):
            pairs = reads_pairs(pruned.task)
            pruned = pruned.with_model(narrow(pruned.model, hidden_size=hidden_size, pairs=pairs))
        say(f"pruned: {part}{start.given.parameters:,} parameters become {pruned.parameters:,}")
        if part.epochs:
            share = config.model_copy(update={"epochs": part.epochs})
            files = part.run_files(run_files, steps_before=result.steps if result else 0)
            recovered = distill([teacher], pruned, data, share, files, text_columns, start.encoded)
            result = recovered.after(result) if result else recovered
        else:
            say("prune: nothing is trained; --epochs 2 would train for 2 passes over the train split")
            result = _untrained(pruned, start.encoded.validation, config)
    assert result is not None  # there is at least one round
    return pruned, _metrics(start, pruned, data, config, result, target)


def _metrics(
    start: Start, pruned: Checkpoint, data: Dataset, config: PruneConfig, result: TrainingResult, target: Target | None
) -> dict[str, Any]:
    """The metrics for the model's history."""
    metrics = result.as_metrics() | {"parameters_before": start.given.parameters}
    if result.steps == 0:
        before = _untrained(start.given, encode(start.given, data.validation), config)
        metrics[f"validation_{before.metric}_before"] = before.best
    if config.vocabulary:
        tokens_before, tokens = (model.model.config.vocab_size for model in (start.given, pruned))
        metrics["vocabulary"] = {"tokens_before": tokens_before, "tokens": tokens}
        for name, split in {"validation": data.validation, "test": data.test}.items():
            shares = compare_reading(start.given, pruned, split.texts)
            metrics["vocabulary"] |= {f"{name}_{share}": value for share, value in shares.items()}
    if target:
        metrics |= target.plan.as_metrics() | measured(pruned, start.given, target.deployment)
    return metrics | {"parameters": pruned.parameters}


def _kept_layers(whole: Checkpoint, config: PruneConfig) -> list[int]:
    """The numbers of the layers that ``config`` leaves."""
    depth = len(EncoderView(whole.model).layers)
    return list(range(depth)) if config.layers is None else choose_layers(config.layers, depth, config.command)


def _imitating(config: PruneConfig, layers: list[int], whole: Checkpoint, teacher: Checkpoint) -> PruneConfig:
    """By default each layer imitates the last of the teacher's layers whose work it does."""
    depth, teacher_depth = (len(EncoderView(model.model).layers) for model in (whole, teacher))
    if config.layer_map is not None or teacher_depth != depth:
        return config
    return config.model_copy(update={"layer_map": [span[-1] for span in spans(layers, depth)]})


def _check(whole: Checkpoint, config: PruneConfig) -> None:
    """Refuse layers and a hidden size that the model does not have, before anything is measured."""
    _kept_layers(whole, config)
    widest = EncoderView(whole.model).hidden_size
    if config.hidden_size is not None and config.hidden_size > widest:
        raise CompressError(
            f"prune.hidden_size must be from 1 to {widest}, the model's, got {config.hidden_size}; prune only removes"
        )
    others = config.heads or config.ffn or config.layers or config.has_target or config.vocabulary
    if config.hidden_size == widest and not others:
        raise CompressError(f"prune.hidden_size {widest} is the model's own, so nothing would go; give a smaller one")


def _with_fewer_units(model: Checkpoint, budget: Budget, sample: Examples, config: PruneConfig) -> Checkpoint:
    if not (config.heads or config.ffn):
        return model
    return _cut(model, choose(rank(model, sample, config), budget), sample, config)


def _cut(model: Checkpoint, cut: Cut, sample: Examples, config: PruneConfig) -> Checkpoint:
    """The cut model, its output projections refitted to make up for the removed units."""
    say(f"cut: {cut}")
    pruned = cut_model(model.model, cut)
    return model.with_model(reconstruct(pruned, model.model, cut.layers, sample, config.batch_size, config.seed))


def _untrained(model: Checkpoint, validation: Examples, config: PruneConfig) -> TrainingResult:
    """The result of a training of no steps: the metric of ``model``, as it is, on the validation texts."""
    logits = encoded_logits(TorchPredictor(model, torch_device(config.device)), list(validation.encodings))
    model.model.cpu()
    metric = config.metric or reported_metric(model.history, model.task, len(model.labels))
    best = score(metric, logits, validation.targets, positive=positive_column(model.labels))
    return TrainingResult(metric, metric, best)
