"""Least squares after a cut: the rest of each layer makes up for what was removed, before any training."""

import copy
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from compress.families.view import EncoderView, LayerView
from compress.modeling.surgery import spans
from compress.progress import progress
from compress.training.batches import Examples, LengthBatches

# Some twenty tokens for each input of the widest projection, and a memory that stays below a gigabyte for BERT-base.
_TOKENS = 32_768
_RIDGE = 1e-1

Block = tuple[nn.Linear, nn.LayerNorm | None]
# What each layer is given beside the hidden states: the attention mask, as the model prepares it for that layer.
Given = dict[nn.Module, tuple[tuple[Any, ...], dict[str, Any]]]


@torch.no_grad()
def reconstruct(
    pruned: PreTrainedModel, whole: PreTrainedModel, layers: list[int], examples: Examples, batch_size: int, seed: int
) -> PreTrainedModel:
    """A copy of ``pruned`` whose output projections are refitted, so that each layer gives what it gave in ``whole``.

    From the lowest layer to the highest, the projections that end attention and FFN are fitted to the sums that the
    whole layer hands to its layer norms, given the pruned layer's own inputs, errors from below included. Where the
    layers above it were removed, its FFN gives what the last of these gave, under that one's layer norm. Kwon et al.
    (2022) fit a factor for each unit; here all weights are fitted, as in ZipLM (Kurtic et al. 2023).

    ``layers`` holds the number in ``whole`` of each layer of ``pruned``. Of the examples, the first batches that hold
    32,768 tokens are read; ``seed`` decides their order.
    """
    fitted = copy.deepcopy(pruned)
    stack, own = EncoderView(whole).layers, EncoderView(fitted).layers
    batches = list(_batches(fitted, whole, examples, batch_size, seed))
    for layer in stack[: layers[0]]:  # no layer stands in for those removed below the first
        for batch in batches:
            batch.step_whole(layer)
    with progress("least squares", len(layers)) as advance:
        for number, span in enumerate(spans(layers, len(stack))):
            if number == len(own) - 1 and not EncoderView(whole).reads_mean:
                batches = [batch.at_the_first_token() for batch in batches]
            _imitate(own[number], [stack[index] for index in span], batches)
            advance()
    return fitted


@dataclass
class _Batch:
    """A batch in the forward passes of both models, which go up layer by layer.

    ``whole`` and ``pruned`` are the inputs of each model's next layer, hidden states ``[batch, length, hidden]``.
    """

    counted: torch.Tensor  # bool [batch, length]: tokens that the fits look at; none is padding
    whole: torch.Tensor
    pruned: torch.Tensor
    given: Given

    def at_the_first_token(self) -> "_Batch":
        """The same batch, fitted to the one token that is read after the last layer."""
        first = torch.zeros_like(self.counted)
        first[:, 0] = True
        return replace(self, counted=first)

    def step_whole(self, layer: LayerView) -> tuple[torch.Tensor, torch.Tensor]:
        """Go up by a layer; the sums after its two blocks, at counted tokens, ``[tokens, hidden]``."""
        norms = [norm for _, norm in layer.blocks if norm is not None]
        with _inputs_of(*norms) as seen:
            self.whole = self._above(layer, self.whole)
        attention, ffn = (*seen, self.whole)[:2]  # where no norm of the layer follows its FFN, the sum is what it gives
        return attention[self.counted], ffn[self.counted]

    def step_pruned(self, layer: LayerView) -> None:
        """Go up by a layer."""
        self.pruned = self._above(layer, self.pruned)

    def look(self, layer: LayerView, block: Block) -> tuple[torch.Tensor, torch.Tensor]:
        """At counted tokens, the inputs of the projection that ends ``block``, and the sums after that."""
        with _inputs_of(*(module for module in block if module is not None)) as seen:
            above = self._above(layer, self.pruned)
        inputs, sums = (*seen, above)[:2]
        return inputs[self.counted], sums[self.counted]

    def _above(self, layer: LayerView, hidden: torch.Tensor) -> torch.Tensor:
        others, named = self.given[layer.module]
        output = layer.module(hidden, *others, **named)
        above: torch.Tensor = output[0] if isinstance(output, tuple) else output
        return above


def _imitate(own: LayerView, span: list[LayerView], batches: list[_Batch]) -> None:
    """Fit a layer's attention to the first of ``span``, its FFN to the last, and take the batches up by it."""
    sums = [[batch.step_whole(layer) for batch in batches] for layer in span]
    attention, ffn = own.blocks
    _refit(own, attention, batches, [wanted for wanted, _ in sums[0]])
    if ffn[1] is not None:
        own.ffn_norm.load_state_dict(span[-1].ffn_norm.state_dict())
    _refit(own, ffn, batches, [wanted for _, wanted in sums[-1]])
    for batch in batches:
        batch.step_pruned(own)


def _refit(layer: LayerView, block: Block, batches: list[_Batch], wanted: list[torch.Tensor]) -> None:
    """Fit the projection that ends ``block`` of ``layer`` to the sums that are wanted after it, in float64.

    The ridge pulls towards the weights as they are, not towards 0.
    """
    linear, tokens = block[0], 0
    inputs_size, outputs_size = linear.in_features, linear.out_features
    input_sum, error_sum = (torch.zeros(size, dtype=torch.float64) for size in (inputs_size, outputs_size))
    gram, cross = (torch.zeros(inputs_size, size, dtype=torch.float64) for size in (inputs_size, outputs_size))
    for batch, sums in zip(batches, wanted, strict=True):
        inputs, own = batch.look(layer, block)
        errors = sums - own
        tokens += len(inputs)
        input_sum += inputs.sum(dim=0)
        error_sum += errors.sum(dim=0)
        gram += inputs.T @ inputs  # of a batch in float32, which is twice as fast; the ridge hides the rounding
        cross += inputs.T @ errors
    centred = linear.bias is not None  # else no bias can make up for the means
    input_mean, error_mean = input_sum / tokens * centred, error_sum / tokens * centred
    gram -= tokens * input_mean.outer(input_mean)
    cross -= tokens * input_mean.outer(error_mean)
    if len(gram):
        gram.diagonal().add_((_RIDGE * gram.diagonal().mean()).clamp(min=torch.finfo(torch.float64).tiny))
    change = torch.linalg.solve(gram, cross)
    linear.weight.add_(change.T.float())
    if centred:
        linear.bias.add_((error_mean - input_mean @ change).float())


def _batches(pruned: nn.Module, whole: nn.Module, examples: Examples, batch_size: int, seed: int) -> Iterator[_Batch]:
    """The batches of the sample, below the first layer of both models."""
    batches = LengthBatches(examples.encodings.lengths, batch_size, seed)
    most = max(1, _TOKENS // batches.batch_tokens)
    for rows in islice(batches.epoch(0), most):
        batch = examples.batch(rows)
        given: Given = {}
        below = _entry(whole, batch, given), _entry(pruned, batch, given)
        yield _Batch(batch["attention_mask"].bool(), below[0], below[1], given)


def _entry(model: nn.Module, batch: dict[str, torch.Tensor], given: Given) -> torch.Tensor:
    """What the first encoder layer reads; adds to ``given`` what the model hands to each layer besides."""
    view = EncoderView(model)
    entered: list[torch.Tensor] = []

    def look(layer: nn.Module, others: tuple[Any, ...], named: dict[str, Any]) -> None:
        entered.append(others[0])
        given[layer] = others[1:], named

    with ExitStack() as hooks:
        for layer in view.stack:
            hooks.enter_context(layer.register_forward_pre_hook(look, with_kwargs=True))
        model(**view.inputs(batch))
    return entered[0]


@contextmanager
def _inputs_of(*modules: nn.Module) -> Iterator[list[torch.Tensor]]:
    """The inputs of ``modules``, in their order, in the forward pass inside the ``with`` block."""
    seen: list[Any] = [None] * len(modules)
    with ExitStack() as hooks:
        for index, module in enumerate(modules):

            def keep(_: nn.Module, given: tuple[torch.Tensor], index: int = index) -> None:
                seen[index] = given[0]

            hooks.enter_context(module.register_forward_pre_hook(keep))
        yield seen
