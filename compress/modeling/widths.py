"""How wide a model is, layer by layer, and what a cut leaves of it."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from compress.families.view import EncoderView

# int8 kernels work on blocks of columns; odd widths were measured up to three times slower (Torch-Pruning#38).
NEURON_BLOCK = 32


@dataclass(frozen=True)
class Architecture:
    """Everything that a model's latency depends on, except the widths of its layers."""

    family: str
    hidden_size: int
    head_size: int
    vocabulary: int
    positions: int  # tokens of the longest text, and rows of the table of positions if there is one
    segments: int
    labels: int
    activation: str
    pad_id: int = 0
    embedding_size: int | None = None  # width of the embedding tables, where a matrix widens them to the hidden size
    own_settings: tuple[tuple[str, Any], ...] = ()  # the config's settings that BERT's lacks

    @classmethod
    def of(cls, model: nn.Module) -> "Architecture":
        """The architecture of ``model``, even or uneven; a family without segments has 0 of them."""
        view = EncoderView(model)
        return cls(
            family=view.family.model_type,
            hidden_size=view.hidden_size,
            head_size=view.head_size,
            vocabulary=view.words.num_embeddings,
            positions=view.read("max_position_embeddings"),
            segments=view.segments.num_embeddings if view.segments else 0,
            labels=view.head[-1].out_features,
            activation=view.read("hidden_act"),
            pad_id=view.pad_id,
            embedding_size=view.projection.in_features if view.projection else None,
            own_settings=_own_settings(view),
        )


def _own_settings(view: EncoderView) -> tuple[tuple[str, Any], ...]:
    """The config's settings that BERT's lacks, by name, with tuples for lists."""
    settings = {name: getattr(view.config, name) for name in view.family.own_settings if hasattr(view.config, name)}
    return tuple((name, tuple(value) if isinstance(value, list) else value) for name, value in settings.items())


@dataclass(frozen=True)
class Widths:
    """Attention heads and FFN neurons of each layer, the last layer last; each may be 0."""

    heads: tuple[int, ...]
    neurons: tuple[int, ...]

    @classmethod
    def even(cls, layers: int, heads: int, neurons: int) -> "Widths":
        """The widths of ``layers`` layers that are all alike."""
        return cls((heads,) * layers, (neurons,) * layers)

    @classmethod
    def of(cls, model: nn.Module) -> "Widths":
        """The widths of the layers of ``model``."""
        layers = EncoderView(model).layers
        return cls(tuple(layer.heads for layer in layers), tuple(layer.neurons for layer in layers))

    @property
    def inhabited(self) -> "Widths":
        """The widths without layers that have neither heads nor neurons, which a cut removes from the model."""
        kept = [pair for pair in zip(self.heads, self.neurons, strict=True) if any(pair)]
        return Widths(tuple(heads for heads, _ in kept), tuple(neurons for _, neurons in kept))

    @property
    def is_even(self) -> bool:
        """Whether all layers are alike."""
        return len(set(self.heads)) == len(set(self.neurons)) == 1


@dataclass(frozen=True)
class Cut:
    """The heads and neurons to keep of each layer, as rising indices; a layer that keeps neither is removed."""

    heads: list[list[int]]
    neurons: list[list[int]]

    @classmethod
    def whole_layers(cls, layers: list[int], widths: Widths) -> "Cut":
        """The cut that keeps all units of ``layers``, and nothing of the others."""

        def kept(counts: tuple[int, ...]) -> list[list[int]]:
            return [list(range(count)) if layer in layers else [] for layer, count in enumerate(counts)]

        return cls(kept(widths.heads), kept(widths.neurons))

    @property
    def layers(self) -> list[int]:
        """The numbers of the layers that stay."""
        units = zip(self.heads, self.neurons, strict=True)
        return [index for index, (heads, neurons) in enumerate(units) if heads or neurons]

    @property
    def widths(self) -> Widths:
        """The heads and neurons that stay in each layer, 0 and 0 where the layer is removed."""
        return Widths(tuple(map(len, self.heads)), tuple(map(len, self.neurons)))

    def __str__(self) -> str:
        heads, neurons = ([len(units[index]) for index in self.layers] for units in (self.heads, self.neurons))
        kept = "" if len(self.layers) == len(self.heads) else f"layers {self.layers} of {len(self.heads)}, "
        return f"{kept}heads {heads}, neurons {neurons}"
