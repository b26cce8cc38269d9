"""Opens a side of the benchmark as a predictor: the one place that knows what each backend's name stands for."""

from compress.benchmark.backends.folders import open_predictor
from compress.benchmark.rows import Row, gpu_graph
from compress.errors import CompressError
from compress.folder import read_manifest
from compress.runtime.encoding import TextEncoder
from compress.runtime.predictor import MeasuredPredictor


def open_row(side: Row, threads: int) -> MeasuredPredictor:
    """The classifier of ``side`` on so many CPU threads.

    Raises:
        CompressError: it cannot be loaded, or not run as asked.
    """
    if side.backend in (None, "torch", "onnxruntime") and side.device == "cpu":
        return open_predictor(side.path, threads, "cpu", side.provider)
    if side.backend == "openvino":
        from compress.benchmark.backends.openvino import OpenVinoPredictor

        return OpenVinoPredictor.open(side.path, threads)
    if side.backend == "onnxruntime":
        return _onnx_on_gpu(side, threads)
    _, *options = (side.backend or "torch").split("-")
    if "varlen" in options:
        from compress.benchmark.backends.varlen import open_varlen

        return open_varlen(side.path, side.device, options[-1], threads)
    from compress.benchmark.backends.torch_modes import open_torch

    return open_torch(side.path, threads, side.device, options)


def _onnx_on_gpu(side: Row, threads: int) -> MeasuredPredictor:
    from compress.runtime.session import OnnxPredictor

    graph, manifest = gpu_graph(side.path), read_manifest(side.path)
    if graph is None:
        raise CompressError(f"{side.path}: has no graph for a GPU; export it in fp32")
    encoder = TextEncoder.from_file(side.path / "tokenizer.json", manifest.max_length)
    return OnnxPredictor(graph, manifest, encoder, threads, provider=side.provider)
