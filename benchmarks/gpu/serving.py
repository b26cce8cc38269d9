"""Parts that time one model: every way to run it at fixed lengths and at SST-2's, and padding against none."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch

from benchmarks.gpu.arithmetic import work_of
from benchmarks.gpu.material import fixed_batch, ragged_batch
from benchmarks.gpu.setting import STUDENT, Setting, sst2_lengths
from benchmarks.gpu.timing import median_ms
from benchmarks.gpu.ways import Padded, Unpadded, Way, load_model
from compress.clock import Stopwatch
from compress.runtime.encoding import Feeds

Emit = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Load:
    """Batches of one kind, which are taken in turn."""

    name: str
    batch: int
    feeds: tuple[Feeds, ...]

    @property
    def tokens(self) -> float:
        """Of a batch on average, padding not counted."""
        return float(np.mean([feeds["attention_mask"].sum() for feeds in self.feeds]))


def serve(setting: Setting, emit: Emit, seconds: float, model: str) -> None:
    """One model in every precision, compiled, and in CUDA graphs."""
    ways: list[Way] = [Padded(precision) for precision in setting.precisions]
    if setting.on_gpu:
        ways[2:2] = [Padded("fp16", "graphs")]  # the one that matters for one text at a time, while there is time
        ways += [Padded(precision, "graphs") for precision in ("bf16", "fp32")]
        ways.append(Padded("fp16", "compiled"))
    elif model == STUDENT:  # tracing a model takes longer than all else of the miniature, and once shows that it works
        ways.append(Padded("fp32", "compiled"))
    _time(setting, emit, seconds, model, ways, [[*sst2_loads(setting, model)], [*fixed_loads(setting, model)]])


def unpadded(setting: Setting, emit: Emit, seconds: float, model: str) -> None:
    """One model with padding and without, in every kind of attention, on texts as long as SST-2's and on full ones."""
    first, *others = setting.half
    best = "flash" if setting.on_gpu else "grouped"
    ways: list[Way] = [Padded(first), Unpadded(first, best)]
    if setting.on_gpu:
        ways += [Unpadded(first, best, mode="graphs"), Unpadded(first, best, mode="compiled")]
    for precision in others:
        ways += [Padded(precision), Unpadded(precision, best)]
    ways.append(Unpadded(first, best, first_token_only=False))
    ways += [Unpadded(first, attention) for attention in ("nested", "grouped") if attention != best]
    if setting.on_gpu:
        ways.append(Padded(first, "compiled"))
    ways.append(Unpadded(first, "flex"))  # last: its kernels take long to compile
    without_padding = fixed_load(setting, model, setting.batches[-2], setting.lengths[-1])
    _time(setting, emit, seconds, model, ways, [[*sst2_loads(setting, model)], [without_padding]])


def sst2_loads(setting: Setting, model: str) -> Iterator[Load]:
    """Batches of texts as long as SST-2's, in random order, padded to the longest."""
    shape = setting.shapes[model]
    for batch in setting.sst2_batches:
        count = (64 if batch == 1 else 4) if setting.on_gpu else 1
        lengths = sst2_lengths(count * batch, shape.positions)
        rows = [lengths[start : start + batch] for start in range(0, len(lengths), batch)]
        yield Load(f"sst2 x {batch}", batch, tuple(ragged_batch(row, shape.vocabulary) for row in rows))


def fixed_loads(setting: Setting, model: str) -> Iterator[Load]:
    """Batches of every size at every length."""
    for length in setting.lengths:
        for batch in setting.batches:
            yield fixed_load(setting, model, batch, length)


def fixed_load(setting: Setting, model: str, batch: int, length: int) -> Load:
    """Batches of texts that are all ``length`` tokens long."""
    return Load(f"{batch} x {length}", batch, (fixed_batch(batch, length, setting.shapes[model].vocabulary),))


def _time(
    setting: Setting, emit: Emit, seconds: float, model: str, ways: Sequence[Way], rounds: Sequence[Sequence[Load]]
) -> None:
    """A row for each way and load: milliseconds on the device alone, and from token ids to logits.

    Every way is timed on the loads of the first round before the second begins, so that what matters most is known
    when the time is over.
    """
    watch, network = Stopwatch(), load_model(setting.folder / model)
    opened: dict[str, Any] = {}
    for loads, way in product(rounds, ways):
        told = {"model": model, "way": way.name}
        if watch.seconds > seconds:
            emit(told | {"reason": f"the part's {seconds:.0f} s were over"})
            continue
        try:
            calls_of = opened.get(way.name) or way.opened(network, setting.device)
        except Exception as error:  # noqa: BLE001 - one way that fails must not take the others with it
            emit(told | {"reason": reason_of(error)})
            continue
        opened[way.name] = calls_of
        for load in loads:
            row: dict[str, Any] = told | {"load": load.name, "batch": load.batch}
            try:
                emit(row | _figures(setting, calls_of, load) | work_of(network, way, load.feeds))
            except Exception as error:  # noqa: BLE001 - memory that does not suffice, a kernel that is missing
                emit(row | {"reason": reason_of(error)})


def _figures(setting: Setting, calls_of: Any, load: Load) -> dict[str, Any]:
    with torch.inference_mode():
        pairs = [calls_of(feeds) for feeds in load.feeds]
        ms = median_ms([resident for resident, _ in pairs], setting.device, setting.figure_s)
        whole_ms = median_ms([whole for _, whole in pairs], setting.device, setting.figure_s)
    return {
        "tokens": load.tokens,
        "ms": ms,
        "whole_ms": whole_ms,
        "texts_per_s": 1000 * load.batch / ms,
        "whole_texts_per_s": 1000 * load.batch / whole_ms,
    }


def reason_of(error: BaseException) -> str:
    """One line of why something failed."""
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0][:300] if text else 'without a message'}"
