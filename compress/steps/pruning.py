"""The step that cuts a model and trains it to recover: prune."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.config import PruneConfig
from compress.metrics import choose_metric
from compress.step import StepResult, data_step
from compress.steps.labels import check_labels

if TYPE_CHECKING:
    from compress.data import Dataset
    from compress.modeling.checkpoint import Checkpoint


def prune(
    model: str | Path, data: str | Path, out: str | Path, *, overwrite: bool = False, **settings: Any
) -> StepResult:
    """Remove attention heads, FFN neurons and tokens that the data lack, and train to recover.

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
        from compress.pruning.recovery import untrained

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
        if training.steps == 0:
            before = untrained(whole, dataset.validation, job.config)
            metrics |= {f"validation_{before.metric}_before": before.best}
        if job.config.vocabulary:
            metrics["vocabulary"] = _vocabulary(whole, pruned, dataset)
        return job.save_torch(pruned, metrics)


def _vocabulary(whole: "Checkpoint", pruned: "Checkpoint", dataset: "Dataset") -> dict[str, float]:
    """Tokens before and after, and how much of the texts that were not counted is read otherwise."""
    from compress.pruning.vocabulary import compare_reading

    before, after = (len(model.model.bert.embeddings.word_embeddings.weight) for model in (whole, pruned))
    found: dict[str, float] = {"tokens_before": before, "tokens": after}
    for name, split in {"validation": dataset.validation, "test": dataset.test}.items():
        found |= {
            f"{name}_{part}": share for part, share in asdict(compare_reading(whole, pruned, split.texts)).items()
        }
    return found
