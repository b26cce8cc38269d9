"""The steps that train a whole model: finetune and distill."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from compress.config import DistillConfig, FinetuneConfig
from compress.evaluation.metrics import choose_metric
from compress.steps.step import StepResult, check_labels, data_step


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
        choose_metric(job.config.metric, dataset.task, len(dataset.labels))
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
        from compress.modeling.checkpoint import load_classifier, load_for_finetuning

        config, text_columns = job.config, job.config.unlabeled_text or job.data.text
        dataset = job.dataset
        choose_metric(config.metric, dataset.task, len(dataset.labels))
        teacher_model = load_classifier(str(teacher), pairs=dataset.pairs)
        check_labels(teacher_model, dataset)
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
