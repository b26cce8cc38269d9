"""How cost grows: python -m benchmarks.scaling TEACHER MODEL --data D [--threads 2] [--minutes 15]

Distillation with the number of texts (one epoch, the teacher's answers not yet cached and cached), the search for a
latency with heads x layers, and bulk answers of MODEL, a finished folder, with cores and instances. Each gets an
exponent: the slope of a straight line through the logarithms. Sizes stop before the time is over. Writes
``benchmarks/results/scaling.json``; the table adds what a billion texts would cost, as an estimate from these rates.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks import kept
from compress.clock import Stopwatch
from compress.config import DataConfig
from compress.data import Dataset
from compress.data.dataset import write_dataset
from compress.data.read import read_dataset
from compress.folder import read_manifest
from compress.machine import usable_cpus

TEXTS = (1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000)
LAYERS, HEADS, NEURONS_A_HEAD = (2, 4, 8, 16), (4, 8, 16), 64
REPEATS = 3
VALIDATION_TEXTS = 100
SERVED_TEXTS = 2_000
BILLION = 10**9
_NEVER = 10**9
_WIDTH_PX, _HEIGHT_PX = 240, 180  # of a panel
Rows = list[dict[str, Any]]
Line = tuple[str, str, list[float], list[float]]  # what grows, what it costs, and the points


def main() -> None:
    """Measure all three, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("teacher", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--threads", type=int, default=usable_cpus())
    parser.add_argument("--minutes", type=float, default=15.0, help="for distillation, which takes longest")
    parser.add_argument("--out", type=Path, default=kept.RESULTS / "scaling.json")
    asked = parser.parse_args()
    dataset = read_dataset(DataConfig(data=asked.data))
    if {*read_manifest(asked.teacher).labels} != {*dataset.labels}:  # distillation would refuse it, and comes last
        parser.error(f"{asked.data}: has other labels than {asked.teacher}; give a teacher that was trained on it")
    results = kept.about([asked.threads]) | {
        "data": {"name": Path(asked.data).name, "digest": dataset.digest},
        "serving": serving(asked.model, [str(text) for text in dataset.test.texts], asked.threads),
        "search": searching(LAYERS, HEADS),
        "distillation": distillation(asked.teacher, dataset, TEXTS, asked.threads, 60 * asked.minutes),
    }
    kept.write(asked.out, results)
    print(table(results), end="")


def distillation(teacher: Path, dataset: Dataset, sizes: Sequence[int], threads: int, budget_s: float) -> Rows:
    """One epoch on the first texts of train, twice: the second run finds the teacher's answers in the cache.

    Few validation texts: those that every size reads would hide how the cost grows.
    """
    import compress

    rows: Rows = []
    few = dataset.validation.of_rows(range(min(VALIDATION_TEXTS, len(dataset.validation))))
    watch = Stopwatch()
    for texts in (size for size in sizes if size <= len(dataset.train)):
        if rows and watch.seconds + (rows[-1]["seconds"] + rows[-2]["seconds"]) * texts / rows[-1]["texts"] > budget_s:
            break
        with TemporaryDirectory() as scratch:
            train = dataset.train.of_rows(range(texts))
            write_dataset(replace(dataset, train=train, validation=few), Path(scratch, "data"))
            for cached in (False, True):
                one = Stopwatch()
                compress.distill(
                    teacher,
                    Path(scratch, "data"),
                    Path(scratch, "student"),
                    overwrite=True,
                    epochs=1,
                    eval_steps=_NEVER,
                    teacher_cache=str(Path(scratch, "cache")),
                    threads=threads,
                )
                rows.append({"texts": texts, "cached": cached, "seconds": one.seconds})
    return rows


def searching(layers: Sequence[int], heads: Sequence[int]) -> Rows:
    """The search alone, on random importance and a latency table in which every unit costs the same."""
    import torch

    from compress.latency.table import LatencyTable
    from compress.modeling.widths import Widths
    from compress.pruning.importance import Importance
    from compress.pruning.search import search

    rows: Rows = []
    for depth, width in ((depth, width) for depth in layers for width in heads):
        neurons = NEURONS_A_HEAD * width
        attention_ms, ffn_ms = np.arange(width + 1) / width, np.arange(neurons + 1) / neurons
        ranks = torch.Generator().manual_seed(0)
        importance = Importance(
            [torch.rand(width, generator=ranks, dtype=torch.float64) for _ in range(depth)],
            [torch.rand(neurons, generator=ranks, dtype=torch.float64) for _ in range(depth)],
        )
        latencies = LatencyTable(0.1, attention_ms, ffn_ms, attention_ms, ffn_ms)
        budget_ms = latencies.latency_ms(Widths((width,) * depth, (neurons,) * depth)) / 2
        seconds = median(_repeated(lambda: search(importance, latencies, budget_ms)))  # noqa: B023 - called at once
        rows.append({"layers": depth, "heads": width, "heads_x_layers": depth * width, "seconds": seconds})
    return rows


def serving(model: Path, texts: Sequence[str], threads: int) -> Rows:
    """Texts a second in bulk, on 1, 2, 4, ... cores, by one instance on all of them and by one on each."""
    import compress

    asked = [texts[number % len(texts)] for number in range(SERVED_TEXTS)]
    rows: Rows = []
    for cores in sorted({*(2**power for power in range(threads.bit_length()) if 2**power <= threads), threads}):
        for instances in sorted({1, cores}):
            with compress.load(model, threads=cores, instances=instances) as classifier:
                classifier(asked[:100])
                seconds = median(_repeated(lambda: classifier(asked)))
            rows.append({"cores": cores, "instances": instances, "texts_per_s": len(asked) / seconds})
    return rows


def _repeated(call: Callable[[], object]) -> Iterator[float]:
    for _ in range(REPEATS):
        watch = Stopwatch()
        call()
        yield watch.seconds


def power_law(xs: Sequence[float], ys: Sequence[float]) -> tuple[float, float] | None:
    """Exponent ``b`` and factor ``a`` of ``y = a x^b``, by least squares of the logarithms; None of one point."""
    if len(set(xs)) < 2:
        return None
    exponent, intercept = np.polyfit(np.log(xs), np.log(ys), 1)
    return float(exponent), float(np.exp(intercept))


def series(results: Mapping[str, Any]) -> dict[str, Line]:
    """Each line that is fitted, by its name."""
    lines: dict[str, tuple[str, str, Rows]] = {
        "distil, not cached": ("texts", "seconds", [row for row in results["distillation"] if not row["cached"]]),
        "distil, cached": ("texts", "seconds", [row for row in results["distillation"] if row["cached"]]),
        "search": ("heads_x_layers", "seconds", results["search"]),
        "serve, one instance": ("cores", "texts_per_s", [row for row in results["serving"] if row["instances"] == 1]),
        "serve, an instance a core": (
            "cores", "texts_per_s", [row for row in results["serving"] if row["instances"] == row["cores"]],
        ),
    }  # fmt: skip
    return {
        name: (x, y, [float(row[x]) for row in rows], [float(row[y]) for row in rows])
        for name, (x, y, rows) in lines.items()
    }


def table(results: Mapping[str, Any]) -> str:
    """The plot, for a page beside it, a row a line, and the estimate."""
    lines = [["what", "from", "to", "exponent"]]
    for name, (x, y, xs, ys) in series(results).items():
        fit = power_law(xs, ys)
        ends = (f"{xs[end]:,.0f} {_words(x)}: {ys[end]:,.4g} {_words(y)}" for end in (0, -1))
        lines.append([name, *ends, f"{fit[0]:.2f}" if fit else "-"])
    return "\n".join(["![The same as plots](scaling.svg)", "", kept.markdown(lines), billion(results), ""])


def billion(results: Mapping[str, Any]) -> str:
    """What a billion texts cost, from the measured rates."""
    best = max(results["serving"], key=lambda row: row["texts_per_s"] / row["cores"])
    a_core = best["texts_per_s"] / best["cores"]
    said = f"answering takes {BILLION / a_core / 3600:,.0f} core hours ({a_core:,.0f} texts a second and core)"
    last = max((row for row in results["distillation"] if row["cached"]), key=lambda row: row["texts"], default=None)
    if last:
        rate = last["texts"] / last["seconds"]
        threads = results["machine"]["threads"][0]
        said += f", an epoch of distillation from a cache {BILLION / rate * threads / 3600:,.0f} ({rate:,.0f} a second)"
    return f"A billion texts, estimated from these rates and not measured: {said}."


def plot(results: Mapping[str, Any]) -> str:
    """Three small panels with logarithmic axes, as SVG."""
    from compress.benchmark.report.charts import as_svg, inline

    lines = series(results)
    panels = [
        _panel({name: line for name, line in lines.items() if name.startswith(panel)})
        for panel in ("distil", "search", "serve")
    ]
    return as_svg({"data": inline([]), "hconcat": panels})


def _panel(lines: Mapping[str, Line]) -> dict[str, Any]:
    """Points, the straight line through them, and a name with its exponent; the second line in another colour."""
    from compress.benchmark.report.charts import ACCENT, INK, layer, number, words

    layers = []
    for index, (colour, (name, (_, _, xs, ys))) in enumerate(
        zip((INK, ACCENT)[: len(lines)], lines.items(), strict=True)
    ):
        ink = {"value": colour}
        points = [{"x": across, "y": up} for across, up in zip(xs, ys, strict=True)]
        layers.append(layer({"type": "circle", "size": 50, "opacity": 1}, points, color=ink))
        said = name
        if fit := power_law(xs, ys):
            said += f", exponent {fit[0]:.2f}"
            ends = [{"x": across, "y": fit[1] * across ** fit[0]} for across in (min(xs), max(xs))]
            layers.append(layer({"type": "line", "strokeWidth": 1.2}, ends, color=ink))
        place = {"x": {"value": _WIDTH_PX}, "y": {"value": _HEIGHT_PX - 12 - 15 * index}}
        label = {"type": "text", "align": "right"}
        layers.append(layer(label, [{"text": said}], text=words("text"), color=ink, **place))
    x, y, _, _ = next(iter(lines.values()))
    axes = {"x": _log(number, "x", _words(x)), "y": _log(number, "y", _words(y))}
    return {"width": _WIDTH_PX, "height": _HEIGHT_PX, "encoding": axes, "layer": layers}


def _log(number: Callable[..., dict[str, Any]], field: str, title: str) -> dict[str, Any]:
    axis = {"title": title, "grid": False, "format": "~s", "tickCount": 4}
    return number(field, scale={"type": "log", "nice": True, "zero": False}, axis=axis)


def _words(field: str) -> str:
    return {"heads_x_layers": "heads x layers", "texts_per_s": "texts/s", "seconds": "s"}.get(field, field)


if __name__ == "__main__":
    kept.program(main)
