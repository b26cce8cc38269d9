"""ONNX Runtime's own optimizer for transformers, which fuses attention, then ``quantize_dynamic``."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.peers.contenders import shared


def make(teacher: Path, data: Path, out: Path) -> None:  # noqa: ARG001
    """It must have fused the attention: else it would be the stock graph."""
    from onnx import TensorProto
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.transformers.optimizer import optimize_model

    config = json.loads((teacher / "config.json").read_text(encoding="utf-8"))
    with TemporaryDirectory() as scratch:
        fp32, fused = Path(scratch, "fp32.onnx"), Path(scratch, "fused.onnx")
        shared.export(teacher, fp32)
        sizes = {"num_heads": config["num_attention_heads"], "hidden_size": config["hidden_size"]}
        optimized = optimize_model(str(fp32), model_type="bert", **sizes)
        if not optimized.get_fused_operator_statistics().get("Attention"):
            raise SystemExit("the optimizer fused no attention")
        optimized.save_model_to_file(str(fused))
        quantize_dynamic(
            fused,
            out / "model.onnx",
            weight_type=QuantType.QInt8,
            reduce_range=not shared.has_vnni(),
            extra_options={"DefaultTensorType": TensorProto.FLOAT},  # the fused operators tell no types
        )
    shared.keep_tokenizer(teacher, out)


def load(folder: Path, threads: int) -> shared.Answer:
    """In ONNX Runtime."""
    return shared.onnx_answers(folder / "model.onnx", folder, threads)
