"""OpenVINO's own runtime, which reads our ONNX graphs."""

from pathlib import Path

import numpy as np

from compress.folder import read_manifest
from compress.runtime.decision import Decision
from compress.runtime.encoding import Feeds, TextEncoder
from compress.runtime.graph_file import choose_graph, graph_inputs, operators, precision_of
from compress.runtime.predictor import Logits, batch_tokens_of


class OpenVinoPredictor:
    """The classifier in an ONNX folder of ours, in the graph that suits this CPU."""

    backend = "openvino"
    provider: str | None = "CPU"

    def __init__(self, folder: Path, threads: int) -> None:
        import openvino

        manifest, graph = read_manifest(folder), choose_graph(folder).graph
        self.task, self.labels, self.parameters = manifest.task, manifest.labels, manifest.parameters
        self.decision = Decision.of(manifest)
        self.encoder = TextEncoder.of(folder, manifest)
        self.precision, self.batch_tokens = precision_of(graph), batch_tokens_of(operators(graph))
        self.size_bytes = graph.stat().st_size
        # By default OpenVINO computes fp32 in bf16 on CPUs that can, which is not the precision that the report names.
        settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        self._inputs = graph_inputs(graph)  # not every family reads all three inputs of a batch
        self._model = openvino.Core().compile_model(str(graph), "CPU", settings)

    def run(self, feeds: Feeds) -> Logits:
        """Logits, float32 ``[batch, labels]``."""
        logits: Logits = np.asarray(
            self._model({name: feeds[name] for name in self._inputs})["logits"], dtype=np.float32
        )
        return logits
