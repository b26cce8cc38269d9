"""The steps that train: finetune, distill and prune."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from compress.config import DistillConfig, FinetuneConfig, PruneConfig
from compress.steps.step import StepResult, data_step


def finetune(
    model: str | Path, data: str | Path, out: str | Path, *, overwrite: bool = False, **settings: Any
) -> StepResult:
    """Train a classifier's head and body on labelled texts.

    Args:
        model: hub id or folder of a BERT classifier or encoder.
        data: see :class:`compress.config.DataConfig`, whose other settings are keywords too (``text``, ``label``, ...).
        out: the folder to write.
        overwrite: replace ``out`` if compress made it.
        **settings: those of :class:`compress.config.FinetuneConfig`.
    """
    with data_step(FinetuneConfig, settings, data, out, overwrite, inputs=(model,)) as job:
        from compress.modeling.checkpoint import load_for_finetuning
        from compress.training.finetune import finetune as core

        dataset = job.dataset
        start = load_for_finetuning(str(model), dataset.task, dataset.labels, job.config.seed)
        trained, result = core(start, dataset, job.config, job.run_files())
        return job.save_torch(trained, result.as_metrics())


def distill(
    teacher: str | Path, data: str | Path, out: str | Path, *, overwrite: bool = False, **settings: Any
) -> StepResult:
    """Make a smaller student and train it to answer as the teacher does.

    Args:
        teacher: folder or hub id of a fine-tuned BERT classifier.
        data: texts and labels, as for :func:`finetune`.
        out: the folder to write.
        overwrite: replace ``out`` if compress made it.
        **settings: those of :class:`compress.config.DistillConfig`.
    """
    with data_step(DistillConfig, settings, data, out, overwrite, inputs=(teacher,)) as job:
        from compress.distillation.distill import distill as core
        from compress.distillation.students import make_student
        from compress.modeling.checkpoint import load_for_finetuning

        config, dataset, text_columns = job.config, job.dataset, job.config.unlabeled_text or job.data.text
        teacher_model = job.classifier(teacher)
        if config.student is not None:
            student = load_for_finetuning(config.student, dataset.task, teacher_model.labels, config.seed)
            student = replace(student, max_length=min(student.max_length, teacher_model.max_length))
        else:
            student = make_student(teacher_model, config)
        result = core(teacher_model, student, dataset, config, job.run_files(), text_columns)
        student = replace(
            student, history=teacher_model.history, digest=teacher_model.digest, source=teacher_model.source
        )
        return job.save_torch(student, result.as_metrics())


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
        from compress.pruning.prune import Start, find_target
        from compress.pruning.prune import prune as core

        config, dataset, text_columns = job.config, job.dataset, job.config.unlabeled_text or job.data.text
        whole = job.classifier(model)
        teacher = job.classifier(config.teacher) if config.teacher else whole
        whole = replace(whole, max_length=min(whole.max_length, teacher.max_length))
        start = Start.of(whole, dataset, config, text_columns)
        target = find_target(start, dataset, config, job.threads) if config.has_target else None
        if target and config.dry_run:
            return job.result(target.plan.as_metrics())
        pruned, metrics = core(start, teacher, dataset, config, job.run_files(), text_columns, target)
        return job.save_torch(pruned, metrics)
