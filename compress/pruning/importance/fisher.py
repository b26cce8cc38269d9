"""How much each attention head and FFN neuron matters: squared gradients on masks (Kwon et al. 2022)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from compress.families.view import EncoderView
from compress.modeling.checkpoint import Checkpoint
from compress.progress import progress
from compress.pruning.importance.scores import Importance, frozen, loss_sum
from compress.training.batches import Examples, LengthBatches


def fisher_importance(checkpoint: Checkpoint, examples: Examples, batch_size: int, seed: int) -> Importance:
    """Sum over texts of the squared gradient of the loss by a mask on each head and neuron.

    This is the diagonal of the empirical Fisher information of the masks: removing a unit raises the loss by about
    half of it (Kwon et al. 2022, after LeCun et al. 1989). No mask stays in the model.
    """
    model = checkpoint.model.eval()
    batches = LengthBatches(examples.encodings.lengths, batch_size, seed).epoch(0)
    with _masks(model) as masks, progress("importance", len(batches)) as advance:
        for batch in map(examples.batch, batches):
            masks.start(len(batch["targets"]))
            loss_sum(model, batch).backward()
            masks.collect()
            advance()
        return Importance(masks.totals[0::2], masks.totals[1::2])


class _Masks:
    """Masks of ones on the inputs of each layer's two output projections: heads, then neurons."""

    def __init__(self, model: nn.Module) -> None:
        self.totals: list[torch.Tensor] = []
        self._live: list[torch.Tensor] = []
        self._sites: list[tuple[nn.Module, int]] = []  # each with the width of one unit
        for layer in EncoderView(model).layers:
            self._sites += [(layer.attention_output, layer.head_size), (layer.ffn_output, 1)]
            self.totals += [torch.zeros(units, dtype=torch.float64) for units in (layer.heads, layer.neurons)]

    def hook(self) -> list[torch.utils.hooks.RemovableHandle]:
        """Put the masks in place; the handles take them out again."""
        return [site.register_forward_pre_hook(self._multiply(index)) for index, (site, _) in enumerate(self._sites)]

    def _multiply(self, index: int) -> Callable[[nn.Module, tuple[torch.Tensor]], tuple[torch.Tensor]]:
        def multiply(_: nn.Module, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
            mask = self._live[index].repeat_interleave(self._sites[index][1], dim=-1)
            return (inputs[0] * mask[:, None, :],)

        return multiply

    def start(self, batch: int) -> None:
        """Fresh masks, one row a text, so that each text's gradient is squared by itself."""
        self._live = [torch.ones(batch, len(total), requires_grad=True) for total in self.totals]

    def collect(self) -> None:
        for total, mask in zip(self.totals, self._live, strict=True):
            if mask.grad is not None:
                total.add_(mask.grad.double().square().sum(dim=0))


@contextmanager
def _masks(model: nn.Module) -> Iterator[_Masks]:
    """Masks in place, and gradients for nothing but them; all is as before at the end."""
    masks = _Masks(model)
    handles = masks.hook()
    try:
        with frozen(model):
            yield masks
    finally:
        for handle in handles:
            handle.remove()
