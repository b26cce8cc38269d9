"""NVIDIA ModelOpt's static int8 of a stock export, as nodes that quantize and dequantize, run on the CPU."""

from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.peers.contenders import shared


def make(teacher: Path, data: Path, out: Path) -> None:
    """Calibrated on train texts of one length, since it wants one array an input."""
    import numpy as np
    from modelopt.onnx.quantization import quantize

    feeds = list(shared.calibration(teacher, data, out))
    longest = max(feed["input_ids"].shape[1] for feed in feeds)
    padded = {
        name: np.concatenate([np.pad(feed[name], ((0, 0), (0, longest - feed[name].shape[1]))) for feed in feeds])
        for name in feeds[0]
    }
    with TemporaryDirectory() as scratch:
        fp32 = Path(scratch, "fp32.onnx")
        shared.export(teacher, fp32)
        quantize(
            str(fp32),
            quantize_mode="int8",
            calibration_data=padded,
            calibration_eps=["cpu"],
            high_precision_dtype="fp32",
            output_path=str(out / "model.onnx"),
        )


def load(folder: Path, threads: int) -> shared.Answer:
    """In ONNX Runtime."""
    return shared.onnx_answers(folder / "model.onnx", folder, threads)
