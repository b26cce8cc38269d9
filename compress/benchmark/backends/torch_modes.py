"""PyTorch as its users run it besides fp32 eager: in other precisions, compiled, and in CUDA graphs.

A CUDA graph replays the same kernels on the same memory, which saves the CPU's work of launching each of them (see
"CUDA Graphs" in PyTorch's CUDA semantics). So the model only ever sees a few shapes: inputs are padded up to the next.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from compress.families import family_of
from compress.families.view import EncoderView
from compress.machine import torch_device
from compress.modeling.checkpoint import Checkpoint, load_classifier
from compress.runtime.encoding import Feeds, Text, TextEncoder
from compress.runtime.predictor import BATCH_TOKENS, Logits

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
LENGTHS = (16, 32, 48, 64, 96, 128, 192, 256, 384, 512)
_WARM_UPS = 3
_GPU_BATCH_TOKENS = 16 * BATCH_TOKENS  # a batch that fits a CPU's caches leaves a GPU idle

Tensors = dict[str, torch.Tensor]
Forward = Callable[[Tensors], torch.Tensor]
Replay = Callable[[], torch.Tensor]
Inputs = TypeVar("Inputs")  # the tensors that a graph reads: padded ones by name, or a packed batch
Capture = Callable[[Callable[[Inputs], torch.Tensor], Inputs], Replay]


class TorchBackend:
    """A checkpoint on ``cpu`` or ``cuda`` in one precision and one mode.

    The precision is ``fp32``, ``tf32`` (weights in fp32), ``bf16`` or ``fp16``; the mode is ``eager``, ``compiled``
    (torch.compile), ``graphs`` (CUDA graphs of static shapes) or a subclass's own.
    """

    provider: str | None = None

    def __init__(self, checkpoint: Checkpoint, device: str, precision: str, mode: str) -> None:
        self.task, self.labels = checkpoint.task, checkpoint.labels
        self.encoder: TextEncoder = checkpoint.encoder
        self._tokenizer = checkpoint.tokenizer
        self.parameters = checkpoint.parameters
        files = Path(checkpoint.source).glob("*.safetensors")
        self.size_bytes = sum(file.stat().st_size for file in files) or 4 * checkpoint.parameters
        self.precision = precision
        self.backend = "torch" if mode == "eager" else f"torch-{mode}"
        self.batch_tokens = _GPU_BATCH_TOKENS if device == "cuda" else BATCH_TOKENS
        # This switch is the process's, which has no other model. Without TF32 in the hardware it changes nothing.
        torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
        self.model: torch.nn.Module = checkpoint.model.eval().requires_grad_(False)
        self._device, self._mode = device, mode
        self._answer = self._in_mode()

    def run(self, feeds: Feeds) -> Logits:
        """Logits, float32 ``[batch, labels]``; copying to and from the GPU is part of it."""
        with torch.inference_mode():
            logits: Logits = self._answer(feeds).float().cpu().numpy()
        return logits

    def feeds_of(self, text: Text) -> Feeds:
        """The inputs for one text from the tokenizer in transformers, which PyTorch's users call."""
        sides = (text,) if isinstance(text, str) else text
        inputs = self._tokenizer(*sides, truncation=True, max_length=self.encoder.max_length, return_tensors="np")
        ids = np.asarray(inputs["input_ids"], dtype=np.int64)
        return {"token_type_ids": np.zeros_like(ids), **{name: np.asarray(inputs[name]) for name in inputs}}

    def _in_mode(self) -> Callable[[Feeds], torch.Tensor]:
        model = self.model.to(device=torch.device(self._device), dtype=DTYPES.get(self.precision))
        inputs = family_of(model.config).inputs

        def eager(tensors: Tensors) -> torch.Tensor:
            logits: torch.Tensor = model(**tensors).logits
            return logits

        forward: Forward = eager
        if self._mode == "compiled":
            # One graph for all lengths: real texts would otherwise have it compile again and again.
            forward = torch.compile(eager, dynamic=True)
        elif self._mode == "graphs":
            forward = StaticShapes(eager, EncoderView(model).longest, capture_cuda)
        return lambda feeds: forward({name: torch.from_numpy(feeds[name]).to(self._device) for name in inputs})


def open_torch(folder: Path, threads: int, device: str, options: Sequence[str]) -> TorchBackend:
    """The checkpoint in ``folder``, with ``options`` such as ``bf16`` and ``compiled``, or none for fp32 eager."""
    torch.set_num_threads(threads)
    precision = next((option for option in options if option in ("tf32", *DTYPES)), "fp32")
    mode = next((option for option in options if option in ("compiled", "graphs")), "eager")
    return TorchBackend(load_classifier(str(folder)), torch_device(device), precision, mode)


def bucket_of(batch: int, length: int, longest: int) -> tuple[int, int]:
    """The smallest shape that holds ``batch`` texts of ``length`` tokens, in a model that takes ``longest`` at most.

    Batches are powers of two; lengths are those in ``LENGTHS``, which waste a quarter less than powers of two would.
    """
    up_to = min((bucket for bucket in LENGTHS if bucket >= length), default=length)
    return 1 << (batch - 1).bit_length(), max(length, min(up_to, longest))


class StaticShapes:
    """Calls ``forward``, of a model that takes ``longest`` tokens, through one captured replay for each bucket.

    ``capture`` makes the replay of ``forward`` on inputs ``[batch, length]`` whose memory stays where it is.
    """

    def __init__(self, forward: Forward, longest: int, capture: Capture[Tensors]) -> None:
        self._forward, self._longest, self._capture = forward, longest, capture
        self._captured: dict[tuple[int, int], tuple[Tensors, Replay]] = {}

    def __call__(self, tensors: Tensors) -> torch.Tensor:
        """Logits ``[batch, labels]``, good until the next call."""
        batch, length = tensors["input_ids"].shape
        bucket = bucket_of(batch, length, self._longest)
        if bucket not in self._captured:
            inputs = {name: tensor.new_zeros(bucket) for name, tensor in tensors.items()}
            _fill(inputs, tensors)
            self._captured[bucket] = inputs, self._capture(self._forward, inputs)
        inputs, replay = self._captured[bucket]
        _fill(inputs, tensors)
        return replay()[:batch]


def capture_cuda(forward: Callable[[Inputs], torch.Tensor], inputs: Inputs) -> Replay:
    """The replay of a CUDA graph; the warm-up before it, on a stream of its own, is what PyTorch recommends."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UPS):
            forward(inputs)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        logits = forward(inputs)

    def replay() -> torch.Tensor:
        graph.replay()
        return logits

    return replay


def _fill(inputs: Tensors, tensors: Tensors) -> None:
    """Copy ``tensors`` into the corner of ``inputs``; the rest is padding."""
    for name, tensor in tensors.items():
        rows, length = tensor.shape
        inputs[name].zero_()
        inputs[name][:rows, :length].copy_(tensor)
        if name == "attention_mask":
            inputs[name][rows:, 0] = 1  # a row that attends to nothing would be NaN
