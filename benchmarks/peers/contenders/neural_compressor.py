"""Intel Neural Compressor's dynamic int8 of a stock export (its ONNX half, a package of its own since 3.0)."""

from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.peers.contenders import shared


def make(teacher: Path, data: Path, out: Path) -> None:  # noqa: ARG001
    """As its example for BERT."""
    from onnx_neural_compressor.quantization import config, quantize

    with TemporaryDirectory() as scratch:
        fp32 = Path(scratch, "fp32.onnx")
        shared.export(teacher, fp32)
        quantize(str(fp32), str(out / "model.onnx"), config.DynamicQuantConfig())
    shared.keep_tokenizer(teacher, out)


def load(folder: Path, threads: int) -> shared.Answer:
    """In ONNX Runtime."""
    return shared.onnx_answers(folder / "model.onnx", folder, threads)
