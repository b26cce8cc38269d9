"""Measure the teacher and the tries: answers to validation texts, and the time from a text to its answer.

Processes, clock and comparison are those of bench and quantize.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from compress.benchmark.contention import CpuWatch
from compress.benchmark.findings import Measured, choose_average
from compress.benchmark.interleave import WorkerPool
from compress.benchmark.model_worker import ModelWorker
from compress.benchmark.protocol import answer, time_answers, timed_texts
from compress.benchmark.rows import Row
from compress.benchmark.workload import average_interval, average_ms
from compress.clock import Stopwatch
from compress.data import Split
from compress.errors import CompressError
from compress.evaluation.balance import measure_balance
from compress.evaluation.comparison import compare_logits
from compress.evaluation.metrics import measure_accuracy, positive_column, predictions, truth
from compress.formatting import metric_name
from compress.progress import quietly, say
from compress.runtime.predictor import Logits
from compress.tuning.candidates import ITSELF
from compress.tuning.context import TEACHER, SearchContext
from compress.tuning.record import TeacherTimes
from compress.tuning.teacher import check_better_than_a_constant
from compress.tuning.tries import Try

_BUDGET_S = 2.0
_FEW_TEXTS = 50
_EVALUATION_S = 5.0  # a guess at what evaluating a try takes
_SEED = 0


@dataclass(frozen=True)
class ModelMeasurement:
    """The logits, latency and size of one model."""

    logits: Logits  # float32 [n, labels]; n is 1 for a model that was only timed
    ms: float  # the median from a text to its answer, or the mean where one of the models is a cascade
    ms_ci95: tuple[float, float]
    mean_ms: float
    megabytes: float


def make_teacher(context: SearchContext) -> None:
    """Train the model where it is no classifier yet, and measure it beside its int8 model.

    Raises:
        CompressError: the teacher is no better than a constant answer.
    """
    record = context.record
    if context.bare and not record.facts.teacher:
        say(f"{context.model} is no classifier yet, so it is trained first")
        with record.stage("teacher"):
            context.run(context.recipe({}))
            record.facts.teacher = True
    if record.facts.whole is None:
        with record.stage("whole"):
            record.facts.whole = _measure_teacher(context)
    _check_teacher(context)


def _measure_teacher(context: SearchContext) -> TeacherTimes:
    watch, itself = Stopwatch(), context.shape.candidate(ITSELF, "", {})
    with quietly():
        context.run(context.steps_of(itself, 0))
    int8_s = watch.seconds
    both = {TEACHER: context.teacher, ITSELF: context.tries / ITSELF}
    measured = measure_in_turns(both, context.validation, context.threads, context.watch, only_timed=[ITSELF])
    teacher, int8 = measured[TEACHER], measured[ITSELF]
    np.save(context.answers, teacher.logits)
    say(f"auto: the teacher takes {teacher.ms:.3g} ms a text, in int8 {int8.ms:.3g} ms")
    return TeacherTimes(teacher.ms, int8.ms, int8.mean_ms, int8_s + _EVALUATION_S)


def _check_teacher(context: SearchContext) -> None:
    labels, task, texts = context.checkpoint.labels, context.data.task, context.validation
    right, logits = truth(texts.targets(labels, task), len(labels)), np.concatenate(context.teacher_logits())
    balance = measure_balance(context.metric, labels, right)
    positive = positive_column(labels)
    accuracy = measure_accuracy(context.metric, predictions(task, logits), right, seed=0, positive=positive)
    answer = ", ".join(balance.most_frequent) or "no label"
    check_better_than_a_constant(context.model, context.metric, accuracy.value, balance.always, answer)
    if len(texts) < _FEW_TEXTS:
        low, high = (100 * bound for bound in accuracy.ci95)
        say(
            f"auto: there are only {len(texts)} validation texts: the teacher's {metric_name(context.metric)} of "
            f"{accuracy.value:.1%} has the 95% interval {low:.1f} to {high:.1f}%, and losses are known no better"
        )


def evaluate_try(context: SearchContext, folder: Path, about: Try) -> Try:
    """Measure the int8 model in ``folder``; returns ``about`` with its figures.

    The model is timed beside the teacher's int8 model, and only the ratio of the two counts, as machines drift: the
    ratio of means for a cascade, of medians for all others.
    """
    both = {"reference": context.tries / ITSELF, "model": folder}
    measured = measure_in_turns(both, context.choosing, context.threads, context.watch, only_timed=["reference"])
    reference, model = measured["reference"], measured["model"]
    scale = (context.times.int8_mean_ms if about.is_cascade else context.times.int8_ms) / reference.ms
    labels, task = context.checkpoint.labels, context.data.task
    targets, (teacher, _) = context.choosing.targets(labels, task), context.teacher_logits()
    change = compare_logits(context.metric, task, labels, teacher, model.logits, targets)
    answers, positive = predictions(task, model.logits), positive_column(labels)
    right = truth(targets, len(labels))
    accuracy = measure_accuracy(context.metric, answers, right, seed=0, positive=positive)
    return replace(
        about,
        value=change.quantized,
        value_ci95=accuracy.ci95,
        loss=change.drop_points,
        loss_ci95=change.drop_points_ci95,
        agreement=change.agreement,
        ms=model.ms * scale,
        ms_ci95=(model.ms_ci95[0] * scale, model.ms_ci95[1] * scale),
        megabytes=model.megabytes,
    )


def measure_in_turns(
    folders: dict[str, Path], split: Split, threads: int, watch: CpuWatch, *, only_timed: Collection[str] = ()
) -> dict[str, ModelMeasurement]:
    """Time all models in turns on the texts of ``split``; those not ``only_timed`` also answer all of them.

    Latencies are medians, or means where one model is a cascade: the median of a cascade is that of its small model.

    Raises:
        CompressError: a model cannot be opened, or its process died.
    """
    rows = {name: Row(path) for name, path in folders.items()}
    with WorkerPool(rows, threads) as pool:
        info = pool.each(ModelWorker.open)
        measured = answer(pool, rows, info, split.texts, lambda *_, **__: None, only_timed=only_timed)
        with watch.timing(pool.sessions, threads):
            time_answers(pool, measured, timed_texts(split, measured, _SEED), _BUDGET_S)
        for name, reason in pool.failed.items():
            raise CompressError(f"{folders[name]}: could not be measured ({reason})")

    average = choose_average(measured)

    def measurement(model: Measured) -> ModelMeasurement:
        times = average_ms(model.answer_ms, average), average_interval(model.answer_ms, average)
        return ModelMeasurement(model.logits, *times, average_ms(model.answer_ms, "mean"), model.info.size_bytes / 1e6)

    return {name: measurement(model) for name, model in measured.items()}
