"""How a try is judged: its answers on the texts to choose by, and its time from a text to an answer, beside another's.

The processes, the clock and the comparison are bench's and quantize's own.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from compress.benchmark.findings import Measured, choose_average
from compress.benchmark.interleave import WorkerPool
from compress.benchmark.model_worker import ModelWorker
from compress.benchmark.protocol import answer, time_answers, timed_texts
from compress.benchmark.rows import Row
from compress.benchmark.warnings import CpuWatch
from compress.benchmark.workload import average_interval, average_ms
from compress.data import Split
from compress.errors import CompressError
from compress.evaluation.comparison import compare_logits
from compress.evaluation.metrics import measure_accuracy, positive_column, predictions, truth
from compress.folder import peek
from compress.runtime.predictor import Logits
from compress.tuning.tries import Try

_BUDGET_S = 2.0
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


@dataclass(frozen=True)
class Judge:
    """The texts to choose by, what the teacher answers to them, and how fast it is in int8.

    ``logits`` are the teacher's own, in PyTorch; ``whole_ms`` is its own latency. ``reference_ms`` is the median of
    ``reference``, its int8 folder, and ``reference_mean_ms`` the mean. All others are timed beside it, and only ratios
    are kept, as a machine drifts: of means for a cascade, of medians for all others.
    """

    split: Split
    task: str
    labels: tuple[str, ...]
    metric: str
    logits: Logits
    whole_ms: float
    reference: Path
    reference_ms: float
    reference_mean_ms: float
    threads: int
    watch: CpuWatch

    @property
    def targets(self) -> npt.NDArray[np.generic]:
        """The right answers, as :meth:`compress.data.Split.targets` gives them."""
        return self.split.targets(self.labels, self.task)

    def judged(self, folder: Path, about: Try) -> Try:
        """``about`` with everything that was measured of the int8 model in ``folder``."""
        both = {"reference": self.reference, "model": folder}
        seen = look(both, self.split, self.threads, self.watch, only_timed=["reference"])
        first, other = seen["reference"], seen["model"]
        manifest = peek(folder)
        is_cascade = manifest is not None and manifest.hand_on_below is not None
        scale = (self.reference_mean_ms if is_cascade else self.reference_ms) / first.ms
        change = compare_logits(self.metric, self.task, self.labels, self.logits, other.logits, self.targets)
        right = truth(self.targets, len(self.labels))
        answers, positive = predictions(self.task, other.logits), positive_column(self.labels)
        accuracy = measure_accuracy(self.metric, answers, right, seed=0, positive=positive)
        low, high = change.ci95
        return replace(
            about,
            value=change.quantized,
            value_ci95=accuracy.ci95,
            loss=change.drop_points,
            loss_ci95=(0.0 - 100 * high, 0.0 - 100 * low),
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
