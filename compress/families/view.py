"""Views of a model's parts by names that all families share; surgery, training and export work through them."""

from collections.abc import Iterable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar, cast

import torch
from torch import nn

from compress.families import family_of
from compress.families.family import Parts

Module = TypeVar("Module", bound=nn.Module)


class _Part(Generic[Module]):
    """The module at the path in the family's table; assigning to it replaces the module."""

    def __set_name__(self, _owner: type, name: str) -> None:
        self._name = name

    def __get__(self, view: "LayerView | EncoderView", _owner: type) -> Module:
        return cast(Module, view.module.get_submodule(getattr(view.paths, self._name)))

    def __set__(self, view: "LayerView | EncoderView", module: Module) -> None:
        view.module.set_submodule(getattr(view.paths, self._name), module)


def _find(module: nn.Module, path: str | None) -> nn.Module | None:
    """The module at ``path``; None where a model of this config has none there."""
    owner, _, name = (path or "").rpartition(".")
    part = getattr(module.get_submodule(owner), name, None) if name else None
    return cast(nn.Module | None, part)


class Block(NamedTuple):
    """The end of an attention or FFN block."""

    projection: nn.Linear
    norm: nn.LayerNorm | None  # the layer's own norm that reads the sum of the projection's output and the residual


class LayerView:
    """One encoder layer."""

    attention = _Part[nn.Module]()
    query = _Part[nn.Linear]()
    key = _Part[nn.Linear]()
    value = _Part[nn.Linear]()
    attention_output = _Part[nn.Linear]()
    attention_norm = _Part[nn.LayerNorm]()
    ffn_input = _Part[nn.Linear]()
    ffn_output = _Part[nn.Linear]()
    ffn_norm = _Part[nn.LayerNorm]()

    def __init__(self, module: nn.Module, paths: Parts, head_size: int) -> None:
        self.module = module
        self.paths = paths
        self.head_size = head_size

    @property
    def heads(self) -> int:
        """Number of attention heads; may be 0."""
        return self.attention_output.in_features // self.head_size

    @property
    def neurons(self) -> int:
        """Number of FFN neurons; may be 0."""
        return self.ffn_output.in_features

    @property
    def kind(self) -> str:
        """The kind of attention: ``sliding_attention``, which reads a window of tokens, or ``full_attention``."""
        return str(getattr(self.module, "attention_type", "full_attention"))

    @property
    def projections(self) -> tuple[nn.Linear, ...]:
        """Query, key and value, or the one module that is all three; a layer without heads has none."""
        return tuple(dict.fromkeys((self.query, self.key, self.value))) if self.heads else ()

    @property
    def position_projections(self) -> tuple[nn.Linear, ...]:
        """Projections of relative positions to keys and queries; few models have them, and no layer without heads."""
        return tuple(cast(nn.Linear, self.module.get_submodule(path)) for path in self._position_paths)

    @position_projections.setter
    def position_projections(self, modules: Iterable[nn.Linear]) -> None:
        for path, module in zip(self._position_paths, modules, strict=True):
            self.module.set_submodule(path, module)

    @property
    def _position_paths(self) -> list[str]:
        return [path for path in self.paths.position_projections if _find(self.module, path) is not None]

    @property
    def blocks(self) -> tuple[Block, Block]:
        """Attention and FFN; where layers begin with their norms, no norm of the layer's own follows the FFN."""
        if self.paths.norms_first:
            return Block(self.attention_output, self.ffn_norm), Block(self.ffn_output, None)
        return Block(self.attention_output, self.attention_norm), Block(self.ffn_output, self.ffn_norm)

    @property
    def norms(self) -> list[nn.LayerNorm]:
        """The layer norms of attention, which the first layer may lack, and of the FFN."""
        return [norm for norm in (self.attention_norm, self.ffn_norm) if isinstance(norm, nn.LayerNorm)]


class EncoderView:
    """A classifier of a known family, whole or pruned."""

    words = _Part[nn.Embedding]()
    positions = _Part[nn.Embedding]()
    norm = _Part[nn.LayerNorm]()

    def __init__(self, model: nn.Module) -> None:
        self.module = model
        self.config: Any = model.config
        self.family = family_of(self.config)
        self.paths = self.family.embeddings

    @property
    def embeddings(self) -> nn.Module:
        """The module whose output the first layer reads."""
        after = None if self.paths.projects_first else self.projection
        return after or self.module.get_submodule(self.paths.output)

    @property
    def projection(self) -> nn.Linear | None:
        """The projection from the tables' width to a token's; None where the widths are equal, as in most models."""
        return cast(nn.Linear | None, _find(self.module, self.paths.projection))

    @projection.setter
    def projection(self, module: nn.Linear) -> None:
        owner, _, name = cast(str, self.paths.projection).rpartition(".")
        setattr(self.module.get_submodule(owner), name, module)  # the model may have none yet

    @property
    def tables(self) -> list[nn.Embedding]:
        """The embedding tables: words and, where the model has them, positions and segments."""
        tables = (_find(self.module, path) for path in (self.paths.words, self.paths.positions, self.paths.segments))
        return [cast(nn.Embedding, table) for table in tables if table is not None]

    @property
    def segments(self) -> nn.Embedding | None:
        """The table of first and second texts, where the family has one."""
        return cast(nn.Embedding | None, _find(self.module, self.paths.segments))

    @property
    def has_positions(self) -> bool:
        """Whether there is a table of positions."""
        return _find(self.module, self.paths.positions) is not None

    @property
    def embedding_writers(self) -> list[nn.LayerNorm | nn.Linear]:
        """The modules of the embeddings whose outputs are as wide as a token, in order."""
        if self.projection is None:
            return [self.norm]
        return [self.projection, self.norm] if self.paths.projects_first else [self.projection]

    @property
    def relative_positions(self) -> tuple[nn.Embedding | None, nn.LayerNorm | None]:
        """The table of relative positions that all layers read, and the norm after it, where the model has them."""
        paths = self.family.relative_positions
        modules = [_find(self.module, path) for path in (paths.table, paths.norm)] if paths else [None, None]
        return cast(tuple[nn.Embedding | None, nn.LayerNorm | None], tuple(modules))

    @property
    def stack(self) -> nn.ModuleList:
        """The list of layer modules."""
        return cast(nn.ModuleList, self.module.get_submodule(self.family.layers))

    @stack.setter
    def stack(self, layers: Iterable[nn.Module]) -> None:
        self.module.set_submodule(self.family.layers, nn.ModuleList(layers))

    @property
    def layers(self) -> list[LayerView]:
        """A view of each layer, from the lowest to the highest."""
        return [LayerView(layer, self.family.parts, self.head_size) for layer in self.stack]

    @property
    def head(self) -> list[nn.Linear]:
        """The linear layers from the last hidden states to the logits, in order."""
        return [cast(nn.Linear, self.module.get_submodule(dense.path)) for dense in self.family.head]

    def replace_classifier(self, labels: int) -> None:
        """Replace the head's last layer by a fresh one for ``labels`` labels."""
        last = nn.Linear(self.head[-1].in_features, labels)
        nn.init.normal_(last.weight, std=self.config.initializer_range)
        nn.init.zeros_(last.bias)
        self.module.set_submodule(self.family.head[-1].path, last)
        model: Any = self.module
        model.num_labels = self.config.num_labels = labels

    @property
    def readers(self) -> list[tuple[nn.LayerNorm | nn.Linear, tuple[nn.Linear, ...]]]:
        """The norms, or the projection, that write hidden states, each with the linear layers that read them."""
        writer = self.embedding_writers[-1]
        readers: list[tuple[nn.LayerNorm | nn.Linear, tuple[nn.Linear, ...]]] = []
        for layer in self.layers:
            if layer.paths.norms_first:
                before = layer.norms[0] if len(layer.norms) == 2 else self.norm
                readers += [(before, layer.projections), (layer.ffn_norm, (layer.ffn_input,))]
                writer = cast(nn.LayerNorm, self.final_norm)
                continue
            readers += [(writer, layer.projections), (layer.attention_norm, (layer.ffn_input,))]
            writer = layer.ffn_norm
        return [*readers, (writer, (self.head[0],))]

    @property
    def final_norm(self) -> nn.LayerNorm | None:
        """The norm of the last layer's output, where layers begin with their norms."""
        return cast(nn.LayerNorm | None, _find(self.module, self.family.final_norm))

    @property
    def head_norm(self) -> nn.LayerNorm | None:
        """The norm after the activation of the head's first layer, where the family has one."""
        return cast(nn.LayerNorm | None, _find(self.module, self.family.head_norm))

    @property
    def begins_with_norm(self) -> bool:
        """Whether the first layer has a norm before attention; stock models have none, so theirs was removed."""
        return self.family.parts.norms_first and isinstance(self.layers[0].attention_norm, nn.LayerNorm)

    @property
    def reads_mean(self) -> bool:
        """Whether the head reads the mean of all tokens instead of the first one."""
        return "classifier_pooling" in self.family.own_settings and self.config.classifier_pooling == "mean"

    @property
    def window(self) -> int:
        """Tokens to each side that ``sliding_attention`` reads; 0 without it."""
        return int(self.config.sliding_window) if "local_attention" in self.family.own_settings else 0

    @property
    def frequencies(self) -> dict[str, torch.Tensor]:
        """The rotary frequencies by kind of attention, ``[head_size / 2]``, in radians per token."""
        rotary = _find(self.module, self.family.rotary_positions)
        if rotary is None:
            return {}
        return {kind: getattr(rotary, f"{kind}_inv_freq") for kind in set(self.config.layer_types)}

    @property
    def hidden_size(self) -> int:
        """Width of a token."""
        return int(self.read("hidden_size"))

    @property
    def head_size(self) -> int:
        """Width of one attention head."""
        return self.family.head_size(self.config)

    @property
    def pad_id(self) -> int:
        """The id of the token that fills up shorter texts."""
        return self.config.pad_token_id or 0

    @property
    def longest(self) -> int:
        """Tokens of the longest text, by the size of the table of positions or, without one, by the config."""
        if not self.has_positions:
            return int(self.read("max_position_embeddings"))
        return self.positions.num_embeddings - (self.pad_id + 1 if self.family.counts_tokens else 0)

    def read(self, setting: str) -> Any:
        """The value of a setting of the config; ``setting`` is BERT's name for it."""
        return self.family.read(self.config, setting)

    def write(self, **settings: Any) -> None:
        """Change settings of the config, given by BERT's names for them."""
        for name, value in self.family.renamed(settings).items():
            setattr(self.config, name, value)

    def inputs(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The model's inputs, out of a batch."""
        return {name: batch[name] for name in self.family.inputs}
