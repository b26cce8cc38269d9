"""NNCF static int8 of a stock ONNX export: ``python -m benchmarks.openvino_quantize FP32 IDS.json OUT.xml``.

Run by graphs_models.py in the peer's own environment.
"""

import json
import sys
from pathlib import Path

import nncf
import numpy as np
import openvino


def main(fp32: str, calibration: str, out: str) -> None:
    """Calibrate on all texts of the file, one at a time and unpadded."""
    texts = json.loads(Path(calibration).read_text(encoding="utf-8"))
    rows = [np.array([ids], dtype=np.int64) for ids in texts]
    feeds = [
        {"input_ids": row, "attention_mask": np.ones_like(row), "token_type_ids": np.zeros_like(row)} for row in rows
    ]
    quantized = nncf.quantize(
        openvino.Core().read_model(fp32),
        nncf.Dataset(feeds),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(feeds),
    )
    openvino.save_model(quantized, out)


if __name__ == "__main__":
    main(*sys.argv[1:])
