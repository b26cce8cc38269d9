"""The step that cuts a model and trains it to recover: prune."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from compress.config import PruneConfig
from compress.metrics import choose_metric
from compress.step import StepResult, data_step
from compress.steps.labels import check_labels


def prune(
    model: str | Path, data: str | Path, out: str | Path, *, overwrite: bool = False, **settings: Any
) -> StepResult:
    """Remove attention heads and FFN neurons, and train to recover.

    Args:
        model: folder or hub id of a fine-tuned BERT classifier.
        data: texts and labels, as for :func:`finetune`.
        out: the folder to write.
        overwrite: replace ``out`` if compress made it.
        **settings: those of :class:`compress.config.PruneConfig`.
    """
    with data_step(PruneConfig, settings, data, out, overwrite, inputs=(model,)) as job:
        from compress.data import read_dataset
        from compress.modeling.checkpoint import load_classifier
        from compress.pruning.prune import prune as core

        dataset = read_dataset(job.data)
        choose_metric(job.config.metric, dataset.task, len(dataset.labels))
        whole = load_classifier(str(model), pairs=dataset.pairs)
        check_labels(whole, dataset)
        teacher = load_classifier(job.config.teacher, pairs=dataset.pairs) if job.config.teacher else whole
        check_labels(teacher, dataset)
        whole = replace(whole, max_length=min(whole.max_length, teacher.max_length))
        pruned, training = core(
            whole, teacher, dataset, job.config, job.desk(), job.config.unlabeled_text or job.data.text
        )
        metrics = training.as_metrics() | {"parameters_before": whole.parameters, "parameters": pruned.parameters}
        return job.save_torch(pruned, metrics)
