"""How a model will be served: the runtime, the shapes and the threads that its latency is meant for."""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
import torch
from torch import nn
from transformers import PreTrainedModel

from compress.config import PruneConfig
from compress.data import Dataset
from compress.errors import CompressError
from compress.families import FAMILIES
from compress.graph.build import graph_of
from compress.latency.timer import CudaTimer, GraphTimer, Timer
from compress.machine import cpu_flags, cpu_name, package_versions, processes
from compress.modeling.checkpoint import Checkpoint, quiet_transformers
from compress.modeling.pruned import pruned_classifier, pruned_config
from compress.modeling.widths import Architecture, Widths
from compress.quantization.dynamic import quantize_weights
from compress.runtime.encoding import Feeds
from compress.version import __version__

Runtime = Literal["int8", "fp32", "cuda"]

_SHAPES = 32
_TEXTS = 4096


@dataclass(frozen=True)
class Deployment:
    """The conditions under which models are timed."""

    runtime: Runtime  # int8 and fp32 are ONNX Runtime on the CPU, cuda is PyTorch on a GPU
    threads: int
    batch: int
    lengths: tuple[int, ...]  # tokens of each call, in order; a batch is as long as its longest text

    def timer(self, architecture: Architecture, widths: Widths) -> AbstractContextManager[Timer]:
        """A timer of a model of these widths with random weights."""
        return self.timer_of(random_model(architecture, widths))

    def timer_of(self, model: nn.Module) -> AbstractContextManager[Timer]:
        """A timer of ``model`` itself."""
        feeds = self._feeds(Architecture.of(model))
        if self.runtime == "cuda":
            return CudaTimer(model, feeds)
        return GraphTimer(self._graph(model).SerializeToString(), feeds, self.threads)

    def size_bytes(self, architecture: Architecture, widths: Widths) -> int:
        """The size in bytes of the file that would be served."""
        if self.runtime == "cuda":
            return 4 * parameters(architecture, widths)
        return int(self._graph(random_model(architecture, widths)).ByteSize())

    def as_key(self) -> dict[str, Any]:
        """Everything that the time of a given model depends on: the machine, its software, and the work."""
        packages = ("torch",) if self.runtime == "cuda" else ("onnxruntime",)
        return {
            "cpu": cpu_name(),
            "cpu_flags": sorted(cpu_flags()),
            "gpu": torch.cuda.get_device_name() if self.runtime == "cuda" else None,
            "versions": {"compress": __version__} | package_versions(packages),
            "runtime": self.runtime,
            "threads": self.threads,
            "batch": self.batch,
            "lengths": sorted(self.lengths),
        }

    def _graph(self, model: nn.Module) -> onnx.ModelProto:
        graph = graph_of(model)
        return quantize_weights(graph) if self.runtime == "int8" else graph

    def _feeds(self, architecture: Architecture) -> list[Feeds]:
        """The inputs of each call, random tokens: only their shapes matter."""
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
    """The deployment that ``config`` names; without a length there, the lengths are the test texts', as in bench."""
    if processes() > 1:
        raise CompressError("prune: measures latency, which processes side by side would spoil; run it in one process")
    if config.runtime == "cuda" and not torch.cuda.is_available():
        raise CompressError("prune.runtime is cuda, but PyTorch sees no CUDA GPU here; use int8 or fp32")
    if config.length is not None:
        if config.length > whole.max_length:
            raise CompressError(
                f"prune.length {config.length} is more than the {whole.max_length} tokens that the model takes"
            )
        return Deployment(config.runtime, threads, config.batch, (config.length,))
    texts = (data.test if len(data.test) else data.validation).texts[:_TEXTS]
    lengths = [len(row) for encoding in whole.encoder(texts) for row in encoding.rows]
    return Deployment(config.runtime, threads, config.batch, typical_lengths(lengths, config.batch))


def typical_lengths(lengths: Sequence[int] | npt.NDArray[np.int64], batch: int) -> tuple[int, ...]:
    """Lengths of calls that stand for all: quantiles in random order, where a batch is as long as its longest text."""
    rng = np.random.default_rng(0)
    calls = np.asarray(lengths)
    if batch > 1:
        calls = rng.choice(calls, (64 * _SHAPES, batch)).max(axis=1)
    middles = (np.arange(_SHAPES) + 0.5) / _SHAPES
    return tuple(rng.permutation(np.quantile(calls, middles, method="nearest").astype(int)).tolist())


@cache
def parameters(architecture: Architecture, widths: Widths) -> int:
    """The number of weights of a model of these widths without its empty layers, counted on the meta device."""
    with torch.device("meta"):
        return int(random_model(architecture, widths.inhabited).num_parameters())


def random_model(architecture: Architecture, widths: Widths) -> PreTrainedModel:
    """A model of these widths with random weights, which do not matter to its speed.

    No two layers are alike: ONNX Runtime would store equal weights once, and read them from a nearer cache.
    """
    family = FAMILIES[architecture.family]
    own_settings = {name: list(v) if isinstance(v, tuple) else v for name, v in architecture.own_settings}
    if kinds := own_settings.get("layer_types"):  # one for each layer of the whole model
        own_settings["layer_types"] = kinds[: max(1, len(widths.heads))]
    shape: dict[str, Any] = {
        "vocab_size": architecture.vocabulary,
        "max_position_embeddings": architecture.positions,
        "type_vocab_size": architecture.segments,
        "hidden_size": architecture.hidden_size,
        "num_labels": architecture.labels,
        "hidden_act": architecture.activation,
        "num_hidden_layers": len(widths.heads),
        # Transformers wants a number of heads that divides the hidden size; heads_per_layer is what counts.
        "num_attention_heads": math.gcd(architecture.hidden_size, architecture.hidden_size // architecture.head_size),
        "attention_head_size": architecture.head_size,
        "heads_per_layer": list(widths.heads),
        "neurons_per_layer": list(widths.neurons),
        "intermediate_size": 1,  # of the layers that the class makes first and then replaces
        "pad_token_id": architecture.pad_id,
        "embedding_size": architecture.embedding_size or architecture.hidden_size,
        "keeps_projection": architecture.embedding_size is not None,
        **own_settings,
    }
    with quiet_transformers(), torch.random.fork_rng(devices=[]):
        model: PreTrainedModel = pruned_classifier(family)(pruned_config(family)(**family.renamed(shape)))
    model.train(mode=False)
    return model
