"""How a model will be served: the runtime, the shapes and the threads that its latency is meant for."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from torch import nn

from compress.config import PruneConfig
from compress.data import Dataset
from compress.errors import CompressError
from compress.families import FAMILIES
from compress.graph.build import build_graph
from compress.graph.weights import read_weights
from compress.latency.random_models import random_graph, random_model
from compress.latency.timer import CudaTimer, GraphTimer, Timer
from compress.machine import cpu_flags, cpu_name, package_versions, processes
from compress.modeling.checkpoint import Checkpoint
from compress.modeling.widths import Architecture, Widths, parameters
from compress.quantization.dynamic import quantize_weights
from compress.runtime.encoding import Feeds
from compress.version import __version__

Runtime = Literal["int8", "fp32", "cuda"]

_SHAPES = 32
_TEXTS = 4096


@dataclass(frozen=True)
class Deployment:
    """The conditions under which models are timed.

    Attributes:
        runtime: ``int8`` and ``fp32`` are ONNX Runtime on the CPU, ``cuda`` is PyTorch on a GPU.
        threads: CPU threads.
        batch: texts in a call.
        lengths: tokens of each call, in order; that of a batch is its longest text's.
    """

    runtime: Runtime
    threads: int
    batch: int
    lengths: tuple[int, ...]

    def timer(self, architecture: Architecture, widths: Widths) -> AbstractContextManager[Timer]:
        """A model of these widths with random weights."""
        if self.runtime == "cuda":
            return CudaTimer(random_model(architecture, widths), self._feeds(architecture))
        graph = random_graph(architecture, widths, int8=self.runtime == "int8")
        return GraphTimer(graph.SerializeToString(), self._feeds(architecture), self.threads)

    def timer_of(self, model: nn.Module) -> AbstractContextManager[Timer]:
        """``model`` itself."""
        feeds = self._feeds(Architecture.of(model))
        if self.runtime == "cuda":
            return CudaTimer(model, feeds)
        graph = build_graph(read_weights(model))
        graph = quantize_weights(graph) if self.runtime == "int8" else graph
        return GraphTimer(graph.SerializeToString(), feeds, self.threads)

    def size_bytes(self, architecture: Architecture, widths: Widths) -> int:
        """Size of the file that would be served."""
        if self.runtime == "cuda":
            return 4 * parameters(architecture, widths)
        return int(random_graph(architecture, widths, int8=self.runtime == "int8").ByteSize())

    def as_key(self) -> dict[str, Any]:
        """Everything that the time of a given model depends on: the machine, its software, and the work."""
        packages = ("torch",) if self.runtime == "cuda" else ("onnxruntime",)
        return {
            "cpu": cpu_name(),
            "cpu_flags": sorted(cpu_flags()),
            "gpu": _gpu() if self.runtime == "cuda" else None,
            "versions": {"compress": __version__} | package_versions(packages),
            "runtime": self.runtime,
            "threads": self.threads,
            "batch": self.batch,
            "lengths": sorted(self.lengths),
        }

    def _feeds(self, architecture: Architecture) -> list[Feeds]:
        """Inputs of these shapes; which tokens they hold does not matter."""
        rng = np.random.default_rng(0)
        calls = [
            {
                "input_ids": rng.integers(0, architecture.vocabulary, (self.batch, length)),
                "attention_mask": np.ones((self.batch, length), np.int64),
                "token_type_ids": np.zeros((self.batch, length), np.int64),
            }
            for length in self.lengths
        ]
        return [{name: feeds[name] for name in FAMILIES[architecture.family].inputs} for feeds in calls]


def deployment_of(whole: Checkpoint, data: Dataset, config: PruneConfig, threads: int) -> Deployment:
    """The deployment of ``config``; where it has no length, the lengths are those of the test texts, as in bench.

    Raises:
        CompressError: several processes, no such GPU, or a length that the model cannot read.
    """
    if processes() > 1:
        raise CompressError("prune: measures latency, which processes side by side would spoil; run it in one process")
    if config.runtime == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise CompressError("prune.runtime is cuda, but PyTorch sees no CUDA GPU here; use int8 or fp32")
    if config.length is not None:
        if config.length > whole.max_length:
            raise CompressError(
                f"prune.length {config.length} is more than the {whole.max_length} tokens that the model takes"
            )
        return Deployment(config.runtime, threads, config.batch, (config.length,))
    texts = (data.test if len(data.test) else data.validation).texts[:_TEXTS]
    lengths = [len(encoding) for encoding in whole.encoder(texts)]
    return Deployment(config.runtime, threads, config.batch, typical_lengths(lengths, config.batch))


def typical_lengths(lengths: Sequence[int] | npt.NDArray[np.int64], batch: int) -> tuple[int, ...]:
    """Lengths of a few calls that stand for all: quantiles, in random order.

    Args:
        lengths: tokens of each text, as they come.
        batch: texts in a call, which is as long as the longest of them.
    """
    rng = np.random.default_rng(0)
    calls = np.asarray(lengths)
    if batch > 1:
        calls = rng.choice(calls, (64 * _SHAPES, batch)).max(axis=1)
    middles = (np.arange(_SHAPES) + 0.5) / _SHAPES
    return tuple(rng.permutation(np.quantile(calls, middles, method="nearest").astype(int)).tolist())


def _gpu() -> str:
    import torch

    return torch.cuda.get_device_name()
