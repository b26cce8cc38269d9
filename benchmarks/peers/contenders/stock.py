"""What the guides of PyTorch and ONNX Runtime give: ``torch.onnx.export``, then ``quantize_dynamic``."""

from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.peers.contenders import shared


def make(teacher: Path, data: Path, out: Path) -> None:  # noqa: ARG001
    """Weights of 7 bits where the CPU would saturate with 8, as the guide of ONNX Runtime has it."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with TemporaryDirectory() as scratch:
        fp32 = Path(scratch, "fp32.onnx")
        shared.export(teacher, fp32)
        quantize_dynamic(fp32, out / "model.onnx", weight_type=QuantType.QInt8, reduce_range=not shared.has_vnni())
    shared.keep_tokenizer(teacher, out)


def load(folder: Path, threads: int) -> shared.Answer:
    """In ONNX Runtime."""
    return shared.onnx_answers(folder / "model.onnx", folder, threads)
