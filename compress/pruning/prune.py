"""prune: remove tokens, layers, and the least important heads, neurons and hidden dimensions; train to recover."""

from collections.abc import Sequence

import numpy as np

from compress.config import PruneConfig
from compress.data import Dataset
from compress.errors import CompressError
from compress.families.view import EncoderView
from compress.modeling.checkpoint import Checkpoint
from compress.modeling.layers import choose_layers, spans
from compress.modeling.narrow import narrow
from compress.modeling.surgery import cut_model
from compress.modeling.widths import Cut, Widths
from compress.progress import say
from compress.pruning.importance import Importance
from compress.pruning.importance.ranking import rank
from compress.pruning.plan import PruningPlan
from compress.pruning.reconstruct import reconstruct
from compress.pruning.recovery import recover
from compress.pruning.rounds import plan_rounds
from compress.pruning.selection import Budget, choose
from compress.pruning.vocabulary import cut_vocabulary, texts_to_read
from compress.task import reads_pairs
from compress.training.batches import Examples
from compress.training.checkpointing import RunFiles
from compress.training.encodings import Encodings
from compress.training.finetune import encode
from compress.training.validator import TrainingResult


def prune(
    whole: Checkpoint,
    teacher: Checkpoint,
    data: Dataset,
    config: PruneConfig,
    run_files: RunFiles,
    text_columns: Sequence[str] = (),
    plan: PruningPlan | None = None,
) -> tuple[Checkpoint, TrainingResult]:
    """A smaller copy of ``whole``, recovered by distillation from ``teacher``, and its last training.

    Tokens go first, then layers, then heads and neurons, in one round or several; hidden dimensions go in the first of
    these. What ``plan`` leaves out for a latency goes at once.

    Raises:
        CompressError: ``config`` asks for layers or a hidden size that ``whole`` has not.
    """
    _check(whole, config)
    if config.vocabulary:
        whole = cut_vocabulary(whole, texts_to_read(data, config, text_columns))
    if not config.narrows:
        return whole, recover(teacher, whole, data, config, run_files, text_columns)
    sample = _sample(encode(whole, data.train), config)
    config = _imitating(config, plan.cut.layers if plan else _kept_layers(whole, config), whole, teacher)
    pruned = _cut(whole, plan.cut, sample, config) if plan else _without_layers(whole, sample, config)
    widths = Widths.of(pruned.model)
    for part in plan_rounds(sum(widths.heads), sum(widths.neurons), config):
        pruned = _with_less_units(pruned, part.budget, sample, config)
        if part.number == 1:
            pruned = _with_less_hidden(pruned, plan.hidden_size if plan else config.hidden_size)
        say(f"pruned: {part}{whole.parameters:,} parameters become {pruned.parameters:,}")
        share = config.model_copy(update={"epochs": part.epochs})
        training = recover(teacher, pruned, data, share, part.run_files(run_files), text_columns)
    return pruned, training


def plan_importance(whole: Checkpoint, data: Dataset, config: PruneConfig) -> Importance:
    """That of the units of ``whole`` that may stay; layers that ``config`` leaves out have none."""
    _check(whole, config)
    found = rank(whole, _sample(encode(whole, data.train), config), config)
    layers, kept = range(len(found.heads)), _kept_layers(whole, config)
    heads, neurons = (
        [scores[layer] if layer in kept else scores[layer][:0] for layer in layers]
        for scores in (found.heads, found.neurons)
    )
    return Importance(heads, neurons)


def _kept_layers(whole: Checkpoint, config: PruneConfig) -> list[int]:
    """Those that ``config`` leaves, by number."""
    depth = len(EncoderView(whole.model).layers)
    return list(range(depth)) if config.layers is None else choose_layers(config.layers, depth, config.command)


def _imitating(config: PruneConfig, layers: list[int], whole: Checkpoint, teacher: Checkpoint) -> PruneConfig:
    """Where nothing is said, each layer imitates the last of the teacher's layers whose work it does."""
    depth, its_depth = (len(EncoderView(model.model).layers) for model in (whole, teacher))
    if config.layer_map is not None or its_depth != depth:
        return config
    return config.model_copy(update={"layer_map": [span[-1] for span in spans(layers, depth)]})


def _check(whole: Checkpoint, config: PruneConfig) -> None:
    """Refuse what the model has not before anything is measured."""
    _kept_layers(whole, config)
    widest = EncoderView(whole.model).hidden_size
    if config.hidden_size is not None and config.hidden_size > widest:
        raise CompressError(
            f"prune.hidden_size must be from 1 to {widest}, the model's, got {config.hidden_size}; prune only removes"
        )


def _without_layers(whole: Checkpoint, sample: Examples, config: PruneConfig) -> Checkpoint:
    if config.layers is None:
        return whole
    cut = Cut.whole_layers(_kept_layers(whole, config), Widths.of(whole.model))
    return _cut(whole, cut, sample, config)


def _with_less_units(model: Checkpoint, budget: Budget, sample: Examples, config: PruneConfig) -> Checkpoint:
    if not (config.heads or config.ffn):
        return model
    return _cut(model, choose(rank(model, sample, config), budget), sample, config)


def _with_less_hidden(model: Checkpoint, hidden_size: int | None) -> Checkpoint:
    if hidden_size in (None, EncoderView(model.model).hidden_size):
        return model
    return model.with_model(narrow(model.model, None, None, hidden_size, pairs=reads_pairs(model.task)))


def _cut(model: Checkpoint, cut: Cut, sample: Examples, config: PruneConfig) -> Checkpoint:
    """The cut model, what is left of its layers fitted to make up for what went."""
    say(f"cut: {cut}")
    pruned = cut_model(model.model, cut)
    return model.with_model(reconstruct(pruned, model.model, cut.layers, sample, config.batch_size, config.seed))


def _sample(examples: Examples, config: PruneConfig) -> Examples:
    rows = np.random.default_rng(config.seed).permutation(len(examples))[: config.samples]
    return Examples(Encodings.pack(examples.encodings[row] for row in rows), examples.targets[rows])
