"""The teacher and the tries measured: answers on validation texts, and the time from a text to its answer.

The processes, the clock and the comparison are bench's and quantize's own.
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
from compress.tuning.ground import TEACHER, Ground
from compress.tuning.memory import WholeTimes
from compress.tuning.teacher import check_better_than_a_constant
from compress.tuning.tries import Try

_BUDGET_S = 2.0
_FEW_TEXTS = 50
_LOOK_S = 5.0  # for judging a try, a guess
_SEED = 0


@dataclass(frozen=True)
class Seen:
    """What was seen of one model: its logits, float32 ``[n, labels]``, its latency with the 95% interval, its size.

    ``n`` is 1 for a model that was only timed. ``ms`` is the median, or the mean where one of the models is a cascade;
    ``mean_ms`` always the mean.
    """

    logits: Logits
    ms: float
    ms_ci95: tuple[float, float]
    mean_ms: float
    megabytes: float


def make_teacher(ground: Ground) -> None:
    """Train the model where it is no classifier yet, and look at it beside its int8 model.

    Raises:
        CompressError: the teacher is no better than a constant answer.
    """
    memory = ground.memory
    if ground.bare and not memory.facts.teacher:
        say(f"{ground.model} is no classifier yet, so it is trained first")
        with memory.finding("teacher"):
            ground.run(ground.recipe({}))
            memory.facts.teacher = True
    if memory.facts.whole is None:
        with memory.finding("whole"):
            memory.facts.whole = _look_at_the_teacher(ground)
    _check_teacher(ground)


def _look_at_the_teacher(ground: Ground) -> WholeTimes:
    watch, itself = Stopwatch(), ground.shape.candidate(ITSELF, "", {})
    with quietly():
        ground.run(ground.steps_of(itself, 0))
    int8_s = watch.seconds
    both = {TEACHER: ground.teacher, ITSELF: ground.tries / ITSELF}
    seen = look(both, ground.validation, ground.threads, ground.watch, only_timed=[ITSELF])
    teacher, int8 = seen[TEACHER], seen[ITSELF]
    np.save(ground.answers, teacher.logits)
    say(f"auto: the teacher takes {teacher.ms:.3g} ms a text, in int8 {int8.ms:.3g} ms")
    return WholeTimes(teacher.ms, int8.ms, int8.mean_ms, int8_s + _LOOK_S)


def _check_teacher(ground: Ground) -> None:
    labels, task, texts = ground.checkpoint.labels, ground.data.task, ground.validation
    right, logits = truth(texts.targets(labels, task), len(labels)), np.concatenate(ground.teacher_logits())
    balance = measure_balance(ground.metric, labels, right)
    positive = positive_column(labels)
    found = measure_accuracy(ground.metric, predictions(task, logits), right, seed=0, positive=positive)
    answer = ", ".join(balance.most_frequent) or "no label"
    check_better_than_a_constant(ground.model, ground.metric, found.value, balance.always, answer)
    if len(texts) < _FEW_TEXTS:
        low, high = (100 * bound for bound in found.ci95)
        say(
            f"auto: there are only {len(texts)} validation texts: the teacher's {metric_name(ground.metric)} of "
            f"{found.value:.1%} has the 95% interval {low:.1f} to {high:.1f}%, and losses are known no better"
        )


def judged(ground: Ground, folder: Path, about: Try) -> Try:
    """``about`` with everything that was measured of the int8 model in ``folder``.

    It is timed beside the teacher's int8 model, and only the ratio is kept, as a machine drifts: of means for a
    cascade, of medians for all others.
    """
    both = {"reference": ground.tries / ITSELF, "model": folder}
    seen = look(both, ground.choosing, ground.threads, ground.watch, only_timed=["reference"])
    first, other = seen["reference"], seen["model"]
    scale = (ground.times.int8_mean_ms if about.is_cascade else ground.times.int8_ms) / first.ms
    labels, task = ground.checkpoint.labels, ground.data.task
    targets, (teacher, _) = ground.choosing.targets(labels, task), ground.teacher_logits()
    change = compare_logits(ground.metric, task, labels, teacher, other.logits, targets)
    answers, positive = predictions(task, other.logits), positive_column(labels)
    right = truth(targets, len(labels))
    accuracy = measure_accuracy(ground.metric, answers, right, seed=0, positive=positive)
    return replace(
        about,
        value=change.quantized,
        value_ci95=accuracy.ci95,
        loss=change.drop_points,
        loss_ci95=change.drop_points_ci95,
        agreement=change.agreement,
        ms=other.ms * scale,
        ms_ci95=(other.ms_ci95[0] * scale, other.ms_ci95[1] * scale),
        megabytes=other.megabytes,
    )


def look(
    folders: dict[str, Path], split: Split, threads: int, watch: CpuWatch, *, only_timed: Collection[str] = ()
) -> dict[str, Seen]:
    """The answers to ``split`` of every model that is not ``only_timed``, and its latency, in turns on the same texts.

    That is the median, or where one is a cascade the mean: its median is its small model's.

    Raises:
        CompressError: one of them cannot be opened, or its process died.
    """
    rows = {name: Row(path) for name, path in folders.items()}
    with WorkerPool(rows, threads) as pool:
        info = pool.each(ModelWorker.open)
        measured = answer(pool, rows, info, split.texts, lambda *_, **__: None, only_timed=only_timed)
        with watch.timing(pool.sessions):
            time_answers(pool, measured, timed_texts(split, measured, _SEED), _BUDGET_S)
        for name, reason in pool.failed.items():
            raise CompressError(f"{folders[name]}: could not be measured ({reason})")

    average = choose_average(measured)

    def seen(model: Measured) -> Seen:
        times = average_ms(model.answer_ms, average), average_interval(model.answer_ms, average)
        return Seen(model.logits, *times, average_ms(model.answer_ms, "mean"), model.info.size_bytes / 1e6)

    return {name: seen(model) for name, model in measured.items()}
