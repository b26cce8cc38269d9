"""OpenVINO by itself, which reads our ONNX graphs."""

from pathlib import Path

import numpy as np

from compress.folder import Manifest, read_manifest
from compress.runtime.encoding import Feeds, TextEncoder
from compress.runtime.graph_file import choose_graph, precision_of
from compress.runtime.predictor import Logits, batch_tokens_of


class OpenVinoPredictor:
    """Runs one graph of ours.

    Args:
        graph: the ONNX file.
        manifest: what its folder says of task, labels and size.
        encoder: its tokenizer.
        threads: CPU threads.
    """

    backend = "openvino"

    def __init__(self, graph: Path, manifest: Manifest, encoder: TextEncoder, threads: int) -> None:
        import openvino

        self.task, self.labels, self.parameters = manifest.task, manifest.labels, manifest.parameters
        self.encoder = encoder
        self.precision, self.batch_tokens = precision_of(graph), batch_tokens_of(graph)
        self.size_bytes = graph.stat().st_size
        # By default it computes fp32 in bf16 where the CPU can, which is another precision than the report's.
        settings = {
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
        }
        self._model = openvino.Core().compile_model(str(graph), "CPU", settings)
        self.provider: str | None = "CPU"

    @classmethod
    def open(cls, folder: Path, threads: int) -> "OpenVinoPredictor":
        """The classifier in an ONNX folder of ours, in the graph that suits this CPU."""
        manifest = read_manifest(folder)
        encoder = TextEncoder.from_file(folder / "tokenizer.json", manifest.max_length)
        return cls(choose_graph(folder).graph, manifest, encoder, threads)

    def run(self, feeds: Feeds) -> Logits:
        """Logits, float32 ``[batch, labels]``."""
        logits: Logits = np.asarray(self._model(feeds)["logits"], dtype=np.float32)
        return logits
