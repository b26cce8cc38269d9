"""The rows of a benchmark, each a model folder with a backend that can run it, and how a row is opened."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from compress.benchmark.backends.baselines import ABOUT, BaselinePredictor
from compress.benchmark.backends.foreign_onnx import ForeignOnnx, find_foreign
from compress.demo_assets import MINILM
from compress.durable import parse_json
from compress.errors import CompressError
from compress.families import FAMILIES
from compress.families.family import PRUNED
from compress.folder import peek, read_manifest
from compress.machine import is_installed
from compress.paths import may_be_hub_id
from compress.runtime.graph_file import graphs_of
from compress.runtime.predictor import MeasuredPredictor

if TYPE_CHECKING:
    from compress.config import BenchConfig

_WITH_ARTICLE: Mapping[str, str] = {"torch": "a PyTorch", "onnx": "an ONNX"}
_GPU_BACKENDS = (
    *("torch", "torch-tf32", "torch-bf16", "torch-fp16"),
    *("torch-fp16-compiled", "torch-fp16-graphs", "torch-varlen-fp16", "torch-varlen-fp16-graphs"),
)


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the report: a model's folder and what runs it."""

    path: Path
    backend: str | None = None  # as in the setting ``backends``; None: fp32 eager PyTorch, or onnxruntime for ONNX
    device: str = "cpu"  # or ``cuda``
    provider: str = "CPU"  # onnxruntime's execution provider, for ONNX models


def open_row(row: Row, threads: int) -> MeasuredPredictor:
    """The classifier of ``row`` on ``threads`` CPU threads. Its runtime is imported here, as part of loading."""
    if (row.path / ABOUT).is_file():
        return BaselinePredictor(row.path)
    if (foreign := find_foreign(row.path)) is not None:
        return ForeignOnnx(foreign, threads, row.provider)
    manifest = peek(row.path)
    own = "onnxruntime" if manifest and manifest.kind == "onnx" else "torch"
    engine, *options = (row.backend or own).split("-")
    if engine == "openvino":
        from compress.benchmark.backends.openvino import OpenVinoPredictor

        return OpenVinoPredictor(row.path, threads)
    if engine == "onnxruntime":
        return _open_onnx(row, threads, cascade=manifest is not None and manifest.is_cascade)
    if "varlen" in options:
        from compress.benchmark.backends.varlen_backend import open_varlen

        precision, graphs = options[1], "graphs" in options
        return open_varlen(row.path, row.device, precision, graphs=graphs, threads=threads)
    from compress.benchmark.backends.torch_modes import open_torch

    return open_torch(row.path, threads, row.device, options)


def _open_onnx(row: Row, threads: int, *, cascade: bool) -> MeasuredPredictor:
    from compress.runtime.session import OnnxPredictor

    if cascade:
        from compress.benchmark.backends.cascade import CascadePredictor

        return CascadePredictor(row.path, threads, row.provider)
    if row.device == "cpu":
        return OnnxPredictor.open(row.path, threads, provider=row.provider)
    graph, manifest = gpu_graph(row.path), read_manifest(row.path)
    if graph is None:
        raise CompressError(f"{row.path}: has no graph for a GPU; export it in fp32")
    return OnnxPredictor.of_graph(row.path, manifest, graph, threads, row.provider)


def gpu_graph(folder: Path) -> Path | None:
    """The ONNX folder's graph for a GPU, which is any but int8; None where it has none."""
    return next((graph for precision, graph in graphs_of(folder).items() if precision != "int8"), None)


def unique_names(models: Sequence[Path]) -> dict[str, Path]:
    """A name for each model folder: the folder's own, with its parent's or a number where names are equal."""
    if not models:
        raise CompressError("bench needs at least one model folder")
    named: dict[str, Path] = {}
    tails = [path.resolve().name for path in models]
    for path, tail in zip(models, tails, strict=True):
        name = tail if tails.count(tail) == 1 else f"{path.resolve().parent.name}/{tail}"
        numbered = (name, *(f"{name} ({number})" for number in range(2, len(models) + 1)))
        named[next(candidate for candidate in numbered if candidate not in named)] = path
    return named


def plan(named: Mapping[str, Path], config: "BenchConfig") -> tuple[dict[str, Row], dict[str, str]]:
    """Every row of the report by its name, and the models without a row, each with the reason.

    A model with several rows has the backend in their names. The first model, which is the reference, must have a row.
    A path that is no folder, no ONNX file and no hub id is refused.
    """
    for path in named.values():
        name = path.as_posix()
        if not (path.is_dir() or find_foreign(path) is not None or may_be_hub_id(name) or name == MINILM):
            raise CompressError(f"{path}: no such folder; give folders of models")
    if "openvino" in config.backends and not is_installed("openvino"):
        raise CompressError("bench.backends openvino: the package openvino is not installed; pip install openvino")
    if config.provider is not None:
        _check_provider(config.provider)
    rows: dict[str, Row] = {}
    left_out: dict[str, str] = {}
    for name, path in named.items():
        own_rows = _rows_of(path, config)
        if isinstance(own_rows, str):
            left_out[name] = own_rows
        else:
            rows |= {f"{name} {row.backend}" if len(own_rows) > 1 else name: row for row in own_rows}
    if (first := next(iter(named))) in left_out:
        raise CompressError(
            f"{named[first]}: the first model is the reference and would be left out: {left_out[first]}"
        )
    return rows, left_out


def _check_provider(name: str) -> None:
    from compress.runtime.session import find_provider  # here, since most runs name no provider

    find_provider(name)


def _rows_of(path: Path, config: "BenchConfig") -> list[Row] | str:
    """The rows of one model, or the reason why there are none."""
    if (path / ABOUT).is_file():  # a baseline runs in numpy alone
        return [Row(path)]
    try:
        foreign = find_foreign(path) is not None
        manifest = None if foreign else peek(path)
    except CompressError:  # opening the row says what is wrong with the folder
        return [Row(path)]
    kind = "onnx" if foreign else manifest.kind if manifest else "torch"
    if kind not in _WITH_ARTICLE:
        return f"it is laid out for others ({kind}); give the ONNX folder that it was made from"
    cascade = manifest is not None and manifest.is_cascade
    onnx_engines = ("onnxruntime",) if foreign or cascade else ("onnxruntime", "openvino")
    engines = ("torch",) if kind == "torch" else onnx_engines
    if config.device == "cuda":
        wanted: Sequence[str | None] = config.backends or (*_gpu_backends(path), "onnxruntime")
    else:
        wanted = config.backends or (None,)
    fitting = [backend for backend in wanted if backend is None or backend.split("-")[0] in engines]
    if not fitting:
        return f"it is {_WITH_ARTICLE[kind]} model, and bench.backends has only {', '.join(config.backends)}"
    provider = config.provider or ("CUDA" if config.device == "cuda" else "CPU")
    if kind == "onnx" and (reason := _unfit(path, provider, config, foreign=foreign, cascade=cascade)):
        return reason
    return [Row(path, backend, config.device, provider) for backend in fitting]


def _gpu_backends(path: Path) -> Sequence[str]:
    """The PyTorch backends that run by default on a GPU; not every family has the unpadded ones."""
    try:
        model_type = parse_json((path / "config.json").read_bytes())["model_type"]
        unpadded = FAMILIES[model_type.removeprefix(PRUNED)].builder == "post-norm"
    except (OSError, ValueError, LookupError, TypeError, AttributeError):  # opening the row says what is wrong
        unpadded = True
    return [name for name in _GPU_BACKENDS if unpadded or "varlen" not in name]


def _unfit(path: Path, provider: str, config: "BenchConfig", *, foreign: bool, cascade: bool) -> str | None:
    """Why an ONNX model cannot be measured as the settings ask; None where it can."""
    if cascade:
        unfit = {"--device cuda": config.device == "cuda", "--batch": config.batch, "--length": config.length}
        if asked := [name for name, value in unfit.items() if value]:
            return f"it is a cascade, which runs on a CPU and reads texts, not tokens; leave out {', '.join(asked)}"
    if config.device == "cpu":
        return None
    if not foreign and gpu_graph(path) is None:
        return "dynamic int8 is a format for CPUs, GPUs have no kernels for it; export it in fp32"
    try:
        _check_provider(provider)
    except CompressError as error:
        return str(error)
    return None
