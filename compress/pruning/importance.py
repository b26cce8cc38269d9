"""How much each attention head and FFN neuron matters, by gradients: squared ones on masks (Kwon et al. 2022)."""

from abc import ABC, abstractmethod
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from compress.families.view import EncoderView
from compress.modeling.checkpoint import Checkpoint
from compress.modeling.widths import NEURON_BLOCK
from compress.progress import progress
from compress.training.batches import Examples, LengthBatches
from compress.training.optimization import hard_labels


@dataclass(frozen=True)
class Importance:
    """Importance of every head and neuron, layer by layer; comparable across layers.

    Attributes:
        heads: for each layer a float64 tensor ``[heads]``.
        neurons: for each layer a float64 tensor ``[neurons]``.
    """

    heads: list[torch.Tensor]
    neurons: list[torch.Tensor]


class Site(ABC):
    """An output projection, which reads all heads or all neurons of a layer, and the measurements made there.

    Args:
        linear: the projection.
        unit: columns in a unit.
        step: units removed at a time.
    """

    def __init__(self, linear: nn.Linear, unit: int, step: int) -> None:
        self.linear, self.unit, self.step = linear, unit, step

    @abstractmethod
    def hook(self) -> RemovableHandle:
        """Hook into the projection a tensor whose gradient is measured."""

    @abstractmethod
    def collect(self) -> None:
        """Add the measurements of the last batch to the sums."""

    @abstractmethod
    def scores(self) -> torch.Tensor:
        """The importance of each unit, float64 ``[units]``."""


def measure(
    site_type: type[Site], checkpoint: Checkpoint, examples: Examples, batch_size: int, seed: int
) -> Importance:
    """What ``site_type`` measures while the examples run forward and backward; the model is as before at the end."""
    model = checkpoint.model.eval()
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    sites = [
        site_type(linear, unit, step)
        for layer in EncoderView(model).layers
        for linear, unit, step in ((layer.attention_output, layer.head_size, 1), (layer.ffn_output, 1, NEURON_BLOCK))
    ]
    batches = LengthBatches(examples.encodings.lengths, batch_size, seed).epoch(0)
    with ExitStack() as stack, progress("importance", len(batches)) as advance:
        for weight in trained:
            stack.callback(weight.requires_grad_, weight.requires_grad)
            weight.requires_grad_(False)
        for site in sites:
            stack.enter_context(site.hook())
        for batch in map(examples.batch, batches):
            logits = model(**EncoderView(model).inputs(batch)).logits
            (hard_labels(logits, batch["targets"]) * len(batch["targets"])).backward()
            for site in sites:
                site.collect()
            advance()
    scores = [site.scores() for site in sites]
    return Importance(scores[0::2], scores[1::2])


def fisher_importance(checkpoint: Checkpoint, examples: Examples, batch_size: int, seed: int) -> Importance:
    """The squared gradient of the loss by a mask on each head and neuron, summed over texts.

    This is the diagonal of the empirical Fisher information of the masks: removing a unit raises the loss by about
    half of it (Kwon et al. 2022, after LeCun et al. 1989).
    """
    return measure(_Mask, checkpoint, examples, batch_size, seed)


class _Mask(Site):
    """A mask of ones on the units, fresh for each batch: a row for each text, whose gradient is squared by itself."""

    def __init__(self, linear: nn.Linear, unit: int, step: int) -> None:
        super().__init__(linear, unit, step)
        self._total = torch.zeros(linear.in_features // unit, dtype=torch.float64)

    def hook(self) -> RemovableHandle:
        return self.linear.register_forward_pre_hook(self._multiply)

    def _multiply(self, _: nn.Module, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        self._mask = torch.ones(len(inputs[0]), len(self._total), requires_grad=True)
        return (inputs[0] * self._mask.repeat_interleave(self.unit, dim=-1)[:, None, :],)

    def collect(self) -> None:
        assert self._mask.grad is not None
        self._total += self._mask.grad.double().square().sum(dim=0)

    def scores(self) -> torch.Tensor:
        return self._total
