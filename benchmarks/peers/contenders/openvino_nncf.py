"""OpenVINO with NNCF's static int8, as its guide has it for transformers."""

from pathlib import Path
from typing import Any

from benchmarks.peers.contenders import shared


def make(teacher: Path, data: Path, out: Path) -> None:
    """Converted from PyTorch, calibrated on train texts one at a time and unpadded."""
    import nncf
    import openvino
    import torch

    feeds = list(shared.calibration(teacher, data, out))
    example = {name: torch.tensor(rows) for name, rows in feeds[0].items()}
    inputs = [(name, openvino.PartialShape([-1, -1]), openvino.Type.i64) for name in example]
    model = openvino.convert_model(shared.teacher_model(teacher, "sdpa"), example_input=example, input=inputs)
    quantized = nncf.quantize(model, nncf.Dataset(feeds), model_type=nncf.ModelType.TRANSFORMER, subset_size=len(feeds))
    openvino.save_model(quantized, out / "model.xml")


def load(folder: Path, threads: int) -> shared.Answer:
    """Compiled for latency."""
    import numpy as np
    import openvino

    settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
    request = openvino.Core().compile_model(folder / "model.xml", "CPU", settings).create_infer_request()
    labels, encode = shared.labels_of(folder), shared.encoder(folder)

    def answer(text: str) -> str:
        feed = {name: np.array(rows, dtype=np.int64) for name, rows in encode(text).items()}
        return labels[int(request.infer(feed)[0][0].argmax())]

    return answer
