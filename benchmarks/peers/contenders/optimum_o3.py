"""optimum-onnx: export, optimization level O3, dynamic int8 for this CPU."""

from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.peers.contenders import shared


def make(teacher: Path, data: Path, out: Path) -> None:  # noqa: ARG001
    """As its guide shows; the fused operators tell no types, and optimum has no setting for the default."""
    from onnx import TensorProto
    from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer
    from optimum.onnxruntime import (
        AutoOptimizationConfig,
        ORTModelForSequenceClassification,
        ORTOptimizer,
        ORTQuantizer,
    )
    from optimum.onnxruntime.configuration import AutoQuantizationConfig

    ONNXQuantizer._get_default_tensor_type = lambda *_: TensorProto.FLOAT
    with TemporaryDirectory() as scratch:
        model = ORTModelForSequenceClassification.from_pretrained(teacher, export=True)
        ORTOptimizer.from_pretrained(model).optimize(AutoOptimizationConfig.O3(), scratch)
        quantizer = ORTQuantizer.from_pretrained(scratch, file_name="model_optimized.onnx")
        kind = AutoQuantizationConfig.avx512_vnni if shared.has_vnni() else AutoQuantizationConfig.avx2
        quantizer.quantize(kind(is_static=False, per_channel=False), out)
    shared.keep_tokenizer(teacher, out)


def load(folder: Path, threads: int) -> shared.Answer:
    """Its ``ORTModel``, given NumPy."""
    import numpy as np
    import onnxruntime as ort
    from optimum.onnxruntime import ORTModelForSequenceClassification

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    model = ORTModelForSequenceClassification.from_pretrained(
        folder, file_name="model_optimized_quantized.onnx", session_options=options
    )
    labels, encode = shared.labels_of(folder), shared.encoder(folder)

    def answer(text: str) -> str:
        logits = model(**{name: np.array(rows, dtype=np.int64) for name, rows in encode(text).items()}).logits
        return labels[int(logits[0].argmax())]

    return answer
