"""prune: remove tokens that the data lack, and the least important heads and FFN neurons; train to recover."""

from collections.abc import Sequence

import numpy as np

from compress.config import PruneConfig
from compress.data import Dataset
from compress.modeling.checkpoint import Checkpoint
from compress.progress import say
from compress.pruning.choice import choose
from compress.pruning.importance import fisher_importance
from compress.pruning.recovery import recover
from compress.pruning.surgery import cut_model
from compress.pruning.vocabulary import cut_vocabulary, texts_to_read
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
) -> tuple[Checkpoint, Training]:
    """A smaller copy of ``whole``, recovered by distillation from ``teacher``."""
    if config.vocabulary:
        whole = cut_vocabulary(whole, texts_to_read(data, config, text_columns))
    if not config.narrows:
        return whole, recover(teacher, whole, data, config, desk, text_columns)
    sample = _sample(encode(whole, data.train), config)
    importance = fisher_importance(whole, sample, config.batch_size, config.seed)
    cut = choose(importance, config)
    pruned = whole.with_model(cut_model(whole.model, cut))
    say(f"pruned: {cut}; {whole.parameters:,} parameters become {pruned.parameters:,}")
    return pruned, recover(teacher, pruned, data, config, desk, text_columns)


def _sample(examples: Examples, config: PruneConfig) -> Examples:
    rows = np.random.default_rng(config.seed).permutation(len(examples))[: config.samples]
    return Examples(Encodings.pack(examples.encodings[row] for row in rows), examples.targets[rows])
