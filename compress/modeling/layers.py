"""Which layers a model keeps, and a model that has only these."""

from collections.abc import Sequence

from torch import nn

from compress.errors import CompressError
from compress.families.view import EncoderView


def choose_layers(layers: int | list[int] | None, available: int, step: str) -> list[int]:
    """The numbers of ``layers``: those listed, or that many evenly spaced ones of ``available`` (default: half).

    Raises:
        CompressError: there are no such layers; names the setting of ``step``.
    """
    if layers is None:
        layers = max(1, available // 2)
    if isinstance(layers, int):
        if layers > available:
            raise CompressError(f"{step}.layers must be at most {available}, the model's layers, got {layers}")
        return [index * available // layers for index in range(layers)]
    if max(layers) >= available or len(set(layers)) < len(layers) or sorted(layers) != layers:
        raise CompressError(
            f"{step}.layers must be rising layer numbers from 0 to {available - 1}, got {','.join(map(str, layers))}"
        )
    return layers


def keep_layers(model: nn.Module, kept: Sequence[int]) -> None:
    """Remove all other layers from ``model`` and from its config."""
    view = EncoderView(model)
    view.stack = nn.ModuleList(view.stack[index] for index in kept)
    view.write(num_hidden_layers=len(kept))
    for name in ("heads_per_layer", "neurons_per_layer"):
        if hasattr(view.config, name):
            setattr(view.config, name, [getattr(view.config, name)[index] for index in kept])


def spans(layers: Sequence[int], depth: int) -> list[range]:
    """For each of the ``layers`` that stay, itself and the removed ones above it, whose work it does from then on."""
    return [range(start, end) for start, end in zip(layers, [*layers[1:], depth], strict=True)]
