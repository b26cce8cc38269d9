"""The ways of auto_beside.py, as fast as the winner of a search."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import compress
from compress.benchmark.contention import CpuWatch
from compress.config import AutoConfig, DataConfig
from compress.errors import CompressError
from compress.folder import BEST, SEARCH, read_manifest
from compress.tuning.candidates import ITSELF
from compress.tuning.context import SearchContext
from compress.tuning.judge import measure_in_turns

Settings = dict[str, Any]
Trainings = list[tuple[str, Settings]]  # the commands that train one after the other, with their settings

WAYS = ("recipe", "prune", "layers")
RECIPE_CUT: Settings = {"heads": 0.25, "ffn": 0.5}  # of the demo's recipe
_ALIKE = 1.05  # latencies within 5% of each other are taken for equal, as auto takes them
_AIMS_AT_MOST = 4


@dataclass(frozen=True)
class Search:
    """A search that is over with its data, what auto said of its winner, and the folder for what is made beside it."""

    context: SearchContext
    data: Path
    won: Settings
    out: Path

    @classmethod
    def of(cls, folder: Path, teacher: Path, data: Path, out: Path) -> "Search":
        """Read it; it is refused where the teacher or the data are not those that it was about."""
        if not (folder / SEARCH).is_file() or not (folder / BEST).is_dir():
            raise CompressError(f"{folder}: holds no search that found a model; give a folder of benchmarks.auto")
        asked = json.loads((folder / SEARCH).read_text(encoding="utf-8"))["asked"]
        context = SearchContext.of(str(teacher), DataConfig(data=str(data)), AutoConfig.parse(asked), folder)
        won = read_manifest(folder / BEST).history[-1]["metrics"]
        if won["model"].startswith(ITSELF):
            raise CompressError(f"{folder}: the search took the teacher itself in int8, so there is no speed to reach")
        return cls(context, data, won, out)

    @property
    def name(self) -> str:
        """Data set and goal, as benchmarks.auto names its folders."""
        return "/".join(self.best.resolve().parts[-3:-1])

    @property
    def best(self) -> Path:
        """Auto's winner."""
        return self.context.folder / BEST


def aimed(search: Search, way: str) -> Trainings:
    """The trainings of a way; of all but the recipe such that the model is as fast as the winner."""
    if way == "recipe":
        half = {"layers": max(1, len(search.context.shape.widths.heads) // 2)}
        return [("distill", half), ("prune", RECIPE_CUT)]
    return [("prune", pruned(search))] if way == "prune" else [("distill", fewer_layers(search))]


def pruned(search: Search) -> Settings:
    """The smallest speed-up, by prune's own latency table, whose model is as fast as the winner, or nearly so."""
    wanted, seen = search.context.times.int8_ms / search.won["latency_ms"], {}
    for _ in range(_AIMS_AT_MOST):
        speedup = round(max(_ALIKE, wanted), 3)
        try:
            seen[speedup] = slower(search, {"speedup": speedup})
        except CompressError:  # no widths are that fast
            if not seen:
                raise
            break
        if 1 / _ALIKE <= seen[speedup] <= _ALIKE:
            break
        wanted *= seen[speedup]
    fast = [speedup for speedup in seen if seen[speedup] <= _ALIKE]
    return {"speedup": max(fast, key=seen.__getitem__) if fast else min(seen, key=seen.__getitem__)}


def fewer_layers(search: Search) -> Settings:
    """The most layers that are as fast as the winner, or a single one."""
    counts = range(len(search.context.shape.widths.heads) - 1, 0, -1)
    return {"layers": next((count for count in counts if slower(search, {"layers": count}) <= _ALIKE), 1)}


def slower(search: Search, cut: Settings) -> float:
    """How many times as long as the winner a model so cut takes for an answer; training would not change that."""
    context, folder = search.context, search.out / "untrained" / "-".join(f"{name}-{cut[name]:g}" for name in cut)
    if not (folder / "torch").exists():
        compress.prune(context.teacher, search.data, folder / "torch", epochs=0, threads=context.threads, **cut)
    models = {"winner": search.best, "model": quantized(search, folder / "torch", folder / "int8")}
    measurements = measure_in_turns(models, context.choosing, context.threads, CpuWatch(), only_timed=["model"])
    return measurements["model"].ms / measurements["winner"].ms


def quantized(search: Search, model: Path, out: Path) -> Path:
    """The int8 form of a model, whatever it loses."""
    if not out.exists():
        compress.quantize(model, search.data, out, max_drop=100.0, threads=search.context.threads)
    return out
