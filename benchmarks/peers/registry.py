"""Who is measured: a file of ``contenders/`` and an environment each, and who is not, with the reason."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Peer:
    """One tool's best documented way from the teacher to a model that answers on a CPU.

    Attributes:
        name: as the table has it.
        module: its file in ``contenders/``.
        environment: its key in ``environments.ENVIRONMENTS``; None for the Python that measures.
        made_as: what was asked of the tool.
    """

    name: str
    module: str
    environment: str | None
    made_as: str


TEACHER = Peer("PyTorch fp32", "eager", "transformers", "the teacher as it is, in transformers")
PEERS = (
    TEACHER,
    Peer("PyTorch int8", "torch_dynamic", "transformers", "torch.ao.quantization.quantize_dynamic, linear layers"),
    Peer("torchao int8", "torchao", "transformers", "Int8DynamicActivationInt8WeightConfig, torch.compile"),
    Peer("stock ONNX int8", "stock", "onnxruntime", "torch.onnx.export, quantize_dynamic"),
    Peer("ORT optimizer int8", "ort_optimizer", "onnxruntime", "onnxruntime.transformers.optimizer, quantize_dynamic"),
    Peer("optimum O3 int8", "optimum_o3", "optimum-onnx", "ORTOptimizer O3, ORTQuantizer dynamic"),
    Peer("Olive auto-opt", "olive_auto", "olive", "olive auto-opt --device cpu --precision int8"),
    Peer("Neural Compressor", "neural_compressor", "neural-compressor", "onnx-neural-compressor DynamicQuantConfig"),
    Peer("OpenVINO NNCF int8", "openvino_nncf", "openvino-nncf", "nncf.quantize, model type transformer"),
    Peer("ModelOpt int8", "modelopt", "modelopt", "modelopt.onnx.quantization.quantize, int8"),
    Peer("model2vec", "static_embeddings", "model2vec", "distill_from_model, StaticModelForClassification.fit"),
    Peer("TF-IDF + logistic", "tfidf", "scikit-learn", "1- and 2-grams, C chosen on validation"),
)
NOT_TRIED = {
    "TextPruner": "version 1.1.post2, its last, leads pip to numpy 1.21, which has no wheel for Python 3.11",
    "TextBrewer": "it trains a student for hours on this CPU; results/textbrewer.json compares training with it",
}


def ours(folder_name: str) -> Peer:
    """A folder given on the command line."""
    return Peer(f"compress {folder_name}", "ours", None, "compress.load")
