"""Least squares after a cut: the rest of each layer makes up for what was removed, before any training."""

import copy
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from compress.families.view import Block, EncoderView, LayerView
from compress.modeling.surgery import spans
from compress.progress import progress
from compress.training.batches import Examples, LengthBatches

# Some twenty tokens for each input of the widest projection, and a memory that stays below a gigabyte for BERT-base.
_TOKENS = 32_768
_RIDGE = 1e-1

# The args and kwargs with which a model calls each layer, beside the hidden states: its attention mask above all.
LayerCalls = dict[nn.Module, tuple[tuple[Any, ...], dict[str, Any]]]


@torch.no_grad()
def reconstruct(
    pruned: PreTrainedModel, whole: PreTrainedModel, layers: list[int], examples: Examples, batch_size: int, seed: int
) -> PreTrainedModel:
    """A copy of ``pruned`` whose output projections are refitted, so that each layer's output is that of ``whole``.

    From the lowest layer to the highest, the projections that end attention and FFN are fitted to the sums that the
    whole layer hands to its layer norms, on the pruned layer's own inputs, errors from below included. Where layers
    above a layer were removed, its FFN is fitted to the sum of the last of these, and takes over that one's layer norm.
    Kwon et al. (2022) fit a factor for each unit; here all weights are fitted, as in ZipLM (Kurtic et al. 2023).

    ``layers`` holds the number in ``whole`` of each layer of ``pruned``. The first batches that hold 32,768 tokens of
    the examples are read; ``seed`` decides their order.
    """
    fitted = copy.deepcopy(pruned)
    whole_layers, fitted_layers = EncoderView(whole).layers, EncoderView(fitted).layers
    batches = list(_batches(fitted, whole, examples, batch_size, seed))
    for layer in whole_layers[: layers[0]]:  # no layer stands in for those removed below the first
        for batch in batches:
            batch.step_whole(layer)
    with progress("least squares", len(layers)) as advance:
        for number, span in enumerate(spans(layers, len(whole_layers))):
            if number == len(fitted_layers) - 1 and not EncoderView(whole).reads_mean:
                batches = [batch.at_the_first_token() for batch in batches]
            _fit_layer(fitted_layers[number], [whole_layers[index] for index in span], batches)
            advance()
    return fitted


@dataclass
class _Batch:
    """A batch on its way through both models, layer by layer."""

    counted: torch.Tensor  # bool [batch, length]: tokens that the fits look at; none is padding
    whole: torch.Tensor  # inputs of the whole model's next layer, hidden states [batch, length, hidden]
    pruned: torch.Tensor  # inputs of the pruned model's next layer
    calls: LayerCalls  # of both models' layers

    def at_the_first_token(self) -> "_Batch":
        """A batch whose fits look at the first token alone, the only one that is read after the last layer."""
        first = torch.zeros_like(self.counted)
        first[:, 0] = True
        return replace(self, counted=first)

    def step_whole(self, layer: LayerView) -> tuple[torch.Tensor, torch.Tensor]:
        """Run the whole model's ``layer``; returns the sums after its blocks, ``[counted tokens, hidden]`` each."""
        self.whole, (attention, ffn) = self._run(layer, self.whole, *(block.norm for block in layer.blocks))
        return attention[self.counted], ffn[self.counted]

    def step_pruned(self, layer: LayerView) -> None:
        """Run the pruned model's ``layer``."""
        self.pruned, _ = self._run(layer, self.pruned)

    def inputs_and_sums(self, layer: LayerView, block: Block) -> tuple[torch.Tensor, torch.Tensor]:
        """At counted tokens, the inputs of ``block``'s projection in the pruned model, and the sums after it."""
        _, (inputs, sums) = self._run(layer, self.pruned, block.projection, block.norm)
        return inputs[self.counted], sums[self.counted]

    def _run(
        self, layer: LayerView, hidden: torch.Tensor, *watched: nn.Module | None
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The output of ``layer``, and the inputs of the ``watched`` modules; for None the output stands there too."""
        args, kwargs = self.calls[layer.module]
        seen: dict[nn.Module | None, torch.Tensor] = {}

        def keep(module: nn.Module, inputs: tuple[torch.Tensor]) -> None:
            seen[module] = inputs[0]

        with ExitStack() as hooks:
            for module in watched:
                if module is not None:
                    hooks.enter_context(module.register_forward_pre_hook(keep))
            output = layer.module(hidden, *args, **kwargs)
        seen[None] = output[0] if isinstance(output, tuple) else output
        return seen[None], [seen[module] for module in watched]


def _fit_layer(layer: LayerView, span: list[LayerView], batches: list[_Batch]) -> None:
    """Fit a layer's attention to the first of ``span`` and its FFN to the last, and run it on the batches."""
    sums = [[batch.step_whole(whole_layer) for batch in batches] for whole_layer in span]
    attention, ffn = layer.blocks
    _refit(layer, attention, batches, [attention_sums for attention_sums, _ in sums[0]])
    if ffn.norm is not None:
        ffn.norm.load_state_dict(span[-1].ffn_norm.state_dict())
    _refit(layer, ffn, batches, [ffn_sums for _, ffn_sums in sums[-1]])
    for batch in batches:
        batch.step_pruned(layer)


def _refit(layer: LayerView, block: Block, batches: list[_Batch], targets: list[torch.Tensor]) -> None:
    """Fit the projection of ``block`` to the ``targets`` of the sums after it, ``[tokens, hidden]`` each, in float64.

    The ridge pulls towards the weights as they are, not towards 0.
    """
    linear, tokens = block.projection, 0
    inputs_size, outputs_size = linear.in_features, linear.out_features
    input_sum, error_sum = (torch.zeros(size, dtype=torch.float64) for size in (inputs_size, outputs_size))
    gram, cross = (torch.zeros(inputs_size, size, dtype=torch.float64) for size in (inputs_size, outputs_size))
    for batch, target in zip(batches, targets, strict=True):
        inputs, sums = batch.inputs_and_sums(layer, block)
        errors = target - sums
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
        whole_inputs, whole_calls = _first_inputs(whole, batch)
        pruned_inputs, pruned_calls = _first_inputs(pruned, batch)
        yield _Batch(batch["attention_mask"].bool(), whole_inputs, pruned_inputs, whole_calls | pruned_calls)


def _first_inputs(model: nn.Module, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, LayerCalls]:
    """The inputs of the first encoder layer, and how the model calls each layer."""
    view = EncoderView(model)
    inputs: list[torch.Tensor] = []
    calls: LayerCalls = {}

    def record(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        inputs.append(args[0])
        calls[layer] = args[1:], kwargs

    with ExitStack() as hooks:
        for layer in view.stack:
            hooks.enter_context(layer.register_forward_pre_hook(record, with_kwargs=True))
        model(**view.inputs(batch))
    return inputs[0], calls
