"""ONNX Runtime's own optimizer for transformers, which fuses attention, then ``quantize_dynamic``."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.peers.contenders import shared


def make(teacher: Path, data: Path, out: Path) -> None:  # noqa: ARG001
    """From an export with eager attention: the optimizer does not know the other one."""
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.transformers.optimizer import optimize_model

    config = json.loads((teacher / "config.json").read_text(encoding="utf-8"))
    with TemporaryDirectory() as scratch:
        fp32, fused = Path(scratch, "fp32.onnx"), Path(scratch, "fused.onnx")
        shared.export(teacher, fp32, attention="eager")
        sizes = {"num_heads": config["num_attention_heads"], "hidden_size": config["hidden_size"]}
        optimized = optimize_model(str(fp32), model_type="bert", **sizes)
        if not optimized.get_fused_operator_statistics().get("Attention"):
            raise SystemExit("the optimizer fused no attention")
        optimized.save_model_to_file(str(fused))
        weights = {"weight_type": QuantType.QInt8, "reduce_range": not shared.has_vnni()}
        quantize_dynamic(fused, out / "model.onnx", **weights)
    shared.keep_tokenizer(teacher, out)


def load(folder: Path, threads: int) -> shared.Answer:
    """In ONNX Runtime."""
    return shared.onnx_answers(folder / "model.onnx", folder, threads)
