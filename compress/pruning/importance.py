"""How much each attention head and FFN neuron matters: squared gradients on masks (Kwon et al. 2022)."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from compress.modeling.checkpoint import Checkpoint
from compress.progress import progress
from compress.training.batches import Batch, Examples, LengthBatches, loader
from compress.training.losses import hard_loss


@dataclass(frozen=True)
class Importance:
    """Importance of every head and neuron, layer by layer; comparable across layers.

    Attributes:
        heads: for each layer a float64 tensor ``[heads]``.
        neurons: for each layer a float64 tensor ``[neurons]``.
    """

    heads: list[torch.Tensor]
    neurons: list[torch.Tensor]


def fisher_importance(checkpoint: Checkpoint, examples: Examples, batch_size: int, seed: int) -> Importance:
    """Sum over texts of the squared gradient of the loss by a mask on each head and neuron.

    This is the diagonal of the empirical Fisher information of the masks: removing a unit raises the loss by about
    half of it (Kwon et al. 2022, after LeCun et al. 1989). No mask stays in the model.
    """
    model = checkpoint.model.eval()
    sampler = LengthBatches(examples, batch_size, seed)
    with _masks(model) as masks, progress("importance", len(sampler)) as advance:
        for batch in loader(examples, sampler):
            masks.start(len(batch["targets"]))
            _loss_sum(model, batch).backward()  # type: ignore[no-untyped-call]
            masks.collect()
            model.zero_grad(set_to_none=True)
            advance()
        return Importance(masks.totals[0::2], masks.totals[1::2])


class _Masks:
    """Masks of ones on the inputs of each layer's two output projections: heads, then neurons."""

    def __init__(self, model: nn.Module) -> None:
        self.totals: list[torch.Tensor] = []
        self._widths: list[int] = []
        self._sites: list[nn.Linear] = []
        self._live: list[torch.Tensor] = []
        for layer in model.get_submodule("bert.encoder.layer").children():
            attention, output = layer.get_submodule("attention"), layer.get_submodule("output.dense")
            projection = attention.get_submodule("output.dense")
            heads = getattr(attention.get_submodule("self"), "num_attention_heads", 0)
            for site, units in ((projection, heads), (output, output.in_features)):
                assert isinstance(site, nn.Linear)
                self._sites.append(site)
                self._widths.append(site.in_features // units if units else 0)
                self.totals.append(torch.zeros(units, dtype=torch.float64))

    def hooks(self) -> list[torch.utils.hooks.RemovableHandle]:
        return [site.register_forward_pre_hook(self._hook(index)) for index, site in enumerate(self._sites)]

    def _hook(self, index: int):  # type: ignore[no-untyped-def]  # noqa: ANN202 - a forward pre-hook, as torch wants it
        def multiply(_: nn.Module, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
            mask = self._live[index].repeat_interleave(self._widths[index], dim=-1)
            return (inputs[0] * mask[:, None, :],)

        return multiply

    def start(self, batch: int) -> None:
        """Fresh masks, one row a text, so that each text's gradient is squared by itself."""
        self._live = [torch.ones(batch, len(total), requires_grad=True) for total in self.totals]

    def collect(self) -> None:
        for total, mask in zip(self.totals, self._live, strict=True):
            if mask.grad is not None:
                total += mask.grad.double().square().sum(dim=0)


@contextmanager
def _masks(model: nn.Module) -> Iterator[_Masks]:
    masks = _Masks(model)
    handles = masks.hooks()
    try:
        yield masks
    finally:
        for handle in handles:
            handle.remove()


def _loss_sum(model: nn.Module, batch: Batch) -> torch.Tensor:
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
    return hard_loss(model(**inputs).logits, batch) * len(batch["targets"])
