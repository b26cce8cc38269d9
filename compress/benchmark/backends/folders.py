"""Opens any model folder as a predictor, whatever runs it."""

from pathlib import Path

from compress.benchmark.backends.baselines import ABOUT, BaselinePredictor
from compress.errors import CompressError
from compress.folder import MANIFEST, read_manifest
from compress.runtime.predictor import MeasuredPredictor


def open_predictor(folder: Path, threads: int, device: str = "cpu", provider: str = "CPU") -> MeasuredPredictor:
    """The classifier in ``folder``: PyTorch fp32 eager for torch folders, onnxruntime for ONNX folders.

    Args:
        folder: a folder of ours, a fitted baseline, or a plain Hugging Face classifier.
        threads: CPU threads it may use.
        device: ``cpu`` or ``cuda``.
        provider: onnxruntime's execution provider for ONNX folders.
    """
    if (folder / ABOUT).is_file():
        return BaselinePredictor(folder)
    if (folder / MANIFEST).is_file() and read_manifest(folder).kind == "onnx":
        if device != "cpu":
            raise CompressError(f"{folder}: ONNX models are measured on the CPU only; leave it out or use --device cpu")
        from compress.runtime.session import OnnxPredictor

        return OnnxPredictor.open(folder, threads, provider=provider)

    import torch

    from compress.machine import torch_device
    from compress.modeling.checkpoint import load_classifier
    from compress.modeling.torch_predictor import TorchPredictor

    torch.set_num_threads(threads)
    predictor = TorchPredictor(load_classifier(str(folder)), torch_device(device))
    predictor.size_bytes = sum(file.stat().st_size for file in folder.glob("*.safetensors")) or predictor.size_bytes
    return predictor
