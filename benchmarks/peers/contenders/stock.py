"""What the guides of PyTorch and ONNX Runtime give: ``torch.onnx.export``, then ``quantize_dynamic``."""

from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.peers.contenders import shared


def make(teacher: Path, data: Path, out: Path) -> None:  # noqa: ARG001
    """The pre-processing step that quantize_dynamic asks for in between."""
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with TemporaryDirectory() as scratch:
        fp32, prepared = Path(scratch, "fp32.onnx"), Path(scratch, "prepared.onnx")
        shared.export(teacher, fp32)
        quant_pre_process(fp32, prepared, skip_symbolic_shape=True)
        weights = {"weight_type": QuantType.QInt8, "reduce_range": not shared.has_vnni()}
        quantize_dynamic(prepared, out / "model.onnx", **weights)
    shared.keep_tokenizer(teacher, out)


def load(folder: Path, threads: int) -> shared.Answer:
    """In ONNX Runtime."""
    return shared.onnx_answers(folder / "model.onnx", folder, threads)
