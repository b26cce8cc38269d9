"""The table that describes a family of encoders: where its parts stand, what its config calls things, what it reads."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

# Activations of the FFN by their Hugging Face names, as (ONNX operator, its attributes).
ACTIVATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "gelu": ("Gelu", {}),
    "gelu_new": ("Gelu", {"approximate": "tanh"}),
    "gelu_pytorch_tanh": ("Gelu", {"approximate": "tanh"}),
    "relu": ("Relu", {}),
}
# Prefix of a family's model type for our class of models whose layers differ in width.
PRUNED = "pruned_"


@dataclass(frozen=True)
class Embeddings:
    """The modules that turn token ids into the first layer's input, as paths from the classifier."""

    output: str  # the module whose output is the first layer's input
    words: str
    positions: str | None  # the table of positions; None where attention handles positions; a model may lack it too
    norm: str  # after the sum of the tables' rows
    segments: str | None = None  # the table of first and second texts; None where the family has none
    projection: str | None = None  # from the tables' width to a token's, after the norm; a model may lack it
    projects_first: bool = False  # the projection stands before the norm and has no bias


@dataclass(frozen=True)
class Parts:
    """The modules of one layer, as paths from the layer.

    ``attention`` is the module that splits projections into heads, and that is replaced in a layer without heads; its
    attributes ``head_attributes`` hold the number and width of heads, and the scale of scores, as far as it reads them.

    With ``fused`` query, key and value are one module, whose outputs stand in that order; so do, in ``ffn_input``, the
    FFN's inputs and the gates by which they are multiplied after the activation.
    """

    attention: str
    query: str
    key: str
    value: str
    attention_output: str
    attention_norm: str
    ffn_input: str
    ffn_output: str
    ffn_norm: str
    head_attributes: tuple[str, ...] = ("attention_head_size", "scaling")
    fused: bool = False
    norms_first: bool = False  # each block begins with its norm (pre-norm), and does not end with it
    # Projections of relative positions to keys and queries; a model that shares its key and query for it has none.
    position_projections: tuple[str, ...] = ()


@dataclass(frozen=True)
class RelativePositions:
    """The table of relative positions that all layers read, and the layer norm after it; a model may lack either."""

    table: str
    norm: str


@dataclass(frozen=True)
class Dense:
    """A linear layer of the classification head: its path, and the activation after it by its Hugging Face name."""

    path: str
    activation: str | None = None


@dataclass(frozen=True, eq=False)
class Family:
    """Everything that we know of a family; no other code names its modules."""

    name: str  # as people write it
    model_type: str  # in config.json
    config: str  # transformers' class for its config
    classifier: str  # transformers' class for its classifiers
    inputs: tuple[str, ...]  # of its forward pass and its graph
    layers: str  # path of the list of layers
    parts: Parts  # of each layer
    embeddings: Embeddings
    head: tuple[Dense, ...]  # reads the last layer's first token, or what the builder says; the last gives the logits
    # Its config's names for settings, by BERT's names, where they differ.
    config_names: Mapping[str, str] = field(default_factory=dict)
    tokenizer: str = "WordPiece"  # the kind that its published models have; one of another kind works too
    # Whether positions count the tokens that are no padding: the n-th token reads row pad_id + n, padding row pad_id.
    counts_tokens: bool = False
    # The builder of its graph, in graph/. Post-norm: each block's sum with its input is followed by a layer norm.
    builder: str = "post-norm"
    final_norm: str | None = None  # norm of the last layer's output, where layers begin with their norms
    relative_positions: RelativePositions | None = None
    rotary_positions: str | None = None  # path of the module that rotates queries and keys by their positions
    own_settings: tuple[str, ...] = ()  # settings of its config that BERT's lacks; absent ones have their defaults
    repeats_hidden_size: tuple[str, ...] = ()  # settings of its config that must be equal to the hidden size
    unread: tuple[str, ...] = ()  # weights that its pre-training leaves in a file under names of their own
    refusal: Callable[[Any], str | None] = lambda _: None  # why a model of this config is not supported; None if it is
    head_norm: str | None = None  # after the activation of the head's first layer

    def read(self, config: Any, setting: str) -> Any:
        """The value of a setting in a ``config`` of this family; ``setting`` is BERT's name for it."""
        return getattr(config, self.config_names.get(setting, setting))

    def renamed(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """``settings``, by BERT's names, under the names that configs of this family have for them."""
        return {self.config_names.get(name, name): value for name, value in settings.items()}

    def head_size(self, config: Any) -> int:
        """Width of one attention head; only a pruned model's config has a setting for it."""
        whole = self.read(config, "hidden_size") // self.read(config, "num_attention_heads")
        return int(getattr(config, "attention_head_size", whole))
