"""prune: rank heads and FFN neurons, remove the least important, train to recover."""

from collections.abc import Sequence

import numpy as np

from compress.config import PruneConfig
from compress.data import Dataset
from compress.distillation.distill import distill
from compress.modeling.checkpoint import Checkpoint
from compress.progress import say
from compress.pruning.choice import choose
from compress.pruning.importance import Importance, fisher_importance
from compress.pruning.plan import Plan
from compress.pruning.surgery import cut_model
from compress.training.batches import Examples
from compress.training.checkpointing import Desk
from compress.training.encodings import Encodings
from compress.training.finetune import encode
from compress.training.judge import Training


def prune(
    whole: Checkpoint,
    teacher: Checkpoint,
    data: Dataset,
    config: PruneConfig,
    desk: Desk,
    text_columns: Sequence[str] = (),
    plan: Plan | None = None,
) -> tuple[Checkpoint, Training]:
    """A smaller copy of ``whole``, cut by ``plan`` where there is one, recovered by distillation from ``teacher``."""
    cut = plan.cut if plan else choose(measure_importance(whole, data, config), config)
    pruned = whole.with_model(cut_model(whole.model, cut))
    say(f"pruned: {cut}; {whole.parameters:,} parameters become {pruned.parameters:,}")
    return pruned, distill(teacher, pruned, data, config, desk, text_columns)


def measure_importance(whole: Checkpoint, data: Dataset, config: PruneConfig) -> Importance:
    """That of the units of ``whole``, over a sample of the train texts."""
    sample = _sample(encode(whole, data.train), config)
    return fisher_importance(whole, sample, config.batch_size, config.seed)


def _sample(examples: Examples, config: PruneConfig) -> Examples:
    rows = np.random.default_rng(config.seed).permutation(len(examples))[: config.samples]
    return Examples(Encodings.pack(examples.encodings[row] for row in rows), examples.targets[rows])
