"""The steps that train: finetune, distill and prune."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.config import DistillConfig, FinetuneConfig, PruneConfig
from compress.errors import CompressError
from compress.steps.step import DataJob, StepResult, data_step, model_list

if TYPE_CHECKING:
    from compress.distillation.answers import Answers
    from compress.modeling.checkpoint import Checkpoint


def finetune(
    model: str | Path, data: str | Path, out: str | Path, *, overwrite: bool = False, **settings: Any
) -> StepResult:
    """Train a classifier's head and body on labelled texts.

    Args:
        model: hub id or folder of a classifier or encoder.
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
    teacher: Sequence[str | Path] | str | Path,
    data: str | Path,
    out: str | Path,
    *,
    overwrite: bool = False,
    **settings: Any,
) -> StepResult:
    """Make a smaller student and train it to answer as the teacher does.

    Args:
        teacher: folder or hub id of a fine-tuned classifier. Of several, the answers are averaged, and the first one's
            layers make the student. With ``teacher_answers``, any encoder to make the student of.
        data: texts and labels, as for :func:`finetune`.
        out: the folder to write.
        overwrite: replace ``out`` if compress made it.
        **settings: those of :class:`compress.config.DistillConfig`.
    """
    sources = model_list(teacher)
    with data_step(DistillConfig, settings, data, out, overwrite, inputs=sources) as job:
        from compress.distillation.distill import distill as core
        from compress.training.long_texts import with_long_texts

        config, dataset, text_columns = job.config, job.dataset, job.config.unlabeled_text or job.data.text
        answers, teachers = _teachers(job, sources, text_columns)
        first = teachers[0]
        student = replace(_student(first, job), long_texts=first.long_texts, history=first.history)
        student = with_long_texts(student, config)
        result = core(teachers, student, dataset, config, job.run_files(), text_columns, answers=answers)
        student = replace(student, digest=first.digest, source=first.source)
        also = {"teachers": [str(source) for source in sources]} if len(teachers) > 1 else {}
        return job.save_torch(student, result.as_metrics() | also)


def _teachers(
    job: DataJob[DistillConfig], sources: Sequence[str | Path], text_columns: Sequence[str]
) -> "tuple[Answers | None, list[Checkpoint]]":
    """The answers made elsewhere, if the settings name any, and the teachers; with answers, the encoder that learns."""
    from compress.distillation.answers import read_answers
    from compress.modeling.checkpoint import load_for_finetuning

    config, data = job.config, job.dataset
    if not sources:
        raise CompressError("distill needs a teacher, or with teacher_answers an encoder; give a folder or hub id")
    if config.teacher_answers is None:
        return None, [job.classifier(source) for source in sources]
    if len(sources) > 1:
        raise CompressError(
            f"distill takes one model with teacher_answers, got {len(sources)}: {config.teacher_answers} answers, "
            "and the model's layers make the student; leave out the others, or the answers"
        )
    answers = read_answers(config.teacher_answers, data, data.labels, text_columns)
    return answers, [load_for_finetuning(str(sources[0]), data.task, data.labels, config.seed)]


def _student(teacher: "Checkpoint", job: DataJob[DistillConfig]) -> "Checkpoint":
    """A student made of the teacher's layers, or the checkpoint that the settings name."""
    from compress.distillation.students import make_student, split_alike
    from compress.modeling.checkpoint import load_for_finetuning

    config = job.config
    if config.student is None:
        return make_student(teacher, config)
    student = load_for_finetuning(config.student, job.dataset.task, teacher.labels, config.seed)
    if not split_alike(teacher, student):
        return student
    return replace(student, max_length=min(student.max_length, teacher.max_length))


def prune(
    model: str | Path, data: str | Path, out: str | Path, *, overwrite: bool = False, **settings: Any
) -> StepResult:
    """Remove heads, FFN neurons, layers and tokens that the data lack, by shares or for a latency; train to recover.

    Args:
        model: folder or hub id of a fine-tuned classifier.
        data: texts and labels, as for :func:`finetune`.
        out: the folder to write.
        overwrite: replace ``out`` if compress made it.
        **settings: those of :class:`compress.config.PruneConfig`.
    """
    with data_step(PruneConfig, settings, data, out, overwrite, inputs=(model,)) as job:
        from compress.pruning.prune import Start, find_target
        from compress.pruning.prune import prune as core
        from compress.training.long_texts import no_longer_than

        config, dataset, text_columns = job.config, job.dataset, job.config.unlabeled_text or job.data.text
        whole = job.classifier(model)
        teacher = job.classifier(config.teacher) if config.teacher else whole
        whole = no_longer_than(teacher, whole)
        start = Start.of(whole, dataset, config, text_columns)
        target = find_target(start, dataset, config, job.threads) if config.has_target else None
        if target and config.dry_run:
            return job.result(target.plan.as_metrics())
        pruned, metrics = core(start, teacher, dataset, config, job.run_files(), text_columns, target)
        return job.save_torch(pruned, metrics)
