"""The step that cuts a model and trains it to recover: prune."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from compress.config import PruneConfig
from compress.evaluation.metrics import choose_metric
from compress.steps.step import StepResult, check_labels, data_step


def prune(
    model: str | Path, data: str | Path, out: str | Path, *, overwrite: bool = False, **settings: Any
) -> StepResult:
    """Remove heads, FFN neurons, layers and tokens that the data lack, by shares or for a latency; train to recover.

    Args:
        model: folder or hub id of a fine-tuned BERT classifier.
        data: texts and labels, as for :func:`finetune`.
        out: the folder to write.
        overwrite: replace ``out`` if compress made it.
        **settings: those of :class:`compress.config.PruneConfig`.
    """
    with data_step(PruneConfig, settings, data, out, overwrite, inputs=(model,)) as job:
        from compress.modeling.checkpoint import load_classifier
        from compress.pruning.prune import Start, find_target
        from compress.pruning.prune import prune as core

        config, text_columns = job.config, job.config.unlabeled_text or job.data.text
        dataset = job.dataset
        choose_metric(config.metric, dataset.task, len(dataset.labels))
        whole = load_classifier(str(model), pairs=dataset.pairs)
        check_labels(whole, dataset)
        teacher = load_classifier(config.teacher, pairs=dataset.pairs) if config.teacher else whole
        check_labels(teacher, dataset)
        whole = replace(whole, max_length=min(whole.max_length, teacher.max_length))
        start = Start.of(whole, dataset, config, text_columns)
        target = find_target(start, dataset, config, job.threads) if config.has_target else None
        if target and config.dry_run:
            return job.result(target.plan.as_metrics())
        pruned, metrics = core(start, teacher, dataset, config, job.run_files(), text_columns, target)
        return job.save_torch(pruned, metrics)
