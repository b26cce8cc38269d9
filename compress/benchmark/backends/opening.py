"""A row of the benchmark, opened as a predictor: the one place that knows what each backend's name stands for."""

from dataclasses import dataclass
from pathlib import Path

from compress.benchmark.backends.baselines import ABOUT, BaselinePredictor
from compress.errors import CompressError
from compress.folder import manifest_kind, read_manifest
from compress.runtime.encoding import TextEncoder
from compress.runtime.graph_file import GRAPHS
from compress.runtime.predictor import MeasuredPredictor


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the report.

    Attributes:
        path: the model's folder.
        backend: what runs it, one of the setting ``backends``; None for PyTorch in fp32 eager, or onnxruntime for ONNX
            folders.
        device: ``cpu`` or ``cuda``.
        provider: onnxruntime's execution provider, for ONNX models.
    """

    path: Path
    backend: str | None = None
    device: str = "cpu"
    provider: str = "CPU"


def open_row(row: Row, threads: int) -> MeasuredPredictor:
    """The classifier of ``row`` on some CPU threads. Its runtime is imported here, as part of loading.

    Raises:
        CompressError: it cannot be loaded, or not run on that device, backend or provider.
    """
    if (row.path / ABOUT).is_file():
        return BaselinePredictor(row.path)
    own = "onnxruntime" if manifest_kind(row.path) == "onnx" else "torch"
    engine, *options = (row.backend or own).split("-")
    if engine == "openvino":
        from compress.benchmark.backends.openvino import OpenVinoPredictor

        return OpenVinoPredictor.open(row.path, threads)
    if engine == "onnxruntime":
        from compress.runtime.session import OnnxPredictor

        if row.device == "cpu":
            return OnnxPredictor.open(row.path, threads, provider=row.provider)
        graph, manifest = gpu_graph(row.path), read_manifest(row.path)
        if graph is None:
            raise CompressError(f"{row.path}: has no graph for a GPU; export it in fp32")
        encoder = TextEncoder.from_file(row.path / "tokenizer.json", manifest.max_length)
        return OnnxPredictor(graph, manifest, encoder, threads, provider=row.provider)
    if "varlen" in options:
        from compress.benchmark.backends.varlen import open_varlen

        return open_varlen(row.path, row.device, options[-1], threads)
    from compress.benchmark.backends.torch_modes import open_torch

    return open_torch(row.path, threads, row.device, options)


def gpu_graph(folder: Path) -> Path | None:
    """The ONNX folder's graph for a GPU, which is any but int8; None where it has none."""
    graphs = (folder / name for name, precision in GRAPHS.items() if precision != "int8")
    return next((graph for graph in graphs if graph.is_file()), None)
