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
# Before a family's model type: the class of ours for models whose layers differ in width.
PRUNED = "pruned_"


@dataclass(frozen=True)
class Embeddings:
    """The modules that turn token ids into the first layer's input, as paths from the classifier."""

    output: str  # the module whose output that is
    words: str
    positions: str | None  # the table of positions; None where attention itself counts them, as a model may too
    norm: str  # after the sum of the tables' rows
    segments: str | None = None  # the table of first and second texts; None where the family has none
    projection: str | None = None  # from the tables' width to a token's, after the norm; a model may be without it
    projects_first: bool = False  # the projection stands before the norm and has no bias


@dataclass(frozen=True)
class Parts:
    """The modules of one layer, as paths from the layer.

    ``attention`` is the module that splits projections into heads, and that something else replaces in a layer without
    heads. Its attribute that holds the width of a head is ``head_size_name``.

    With ``fused`` query, key and value are one module, whose outputs stand in that order; so do, in ``ffn_input``, the
    FFN's inputs and the gates that they are multiplied with after the activation.
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
    head_size_name: str = "attention_head_size"
    fused: bool = False
    norms_first: bool = False  # each block begins with its norm, where else its sum is followed by one
    # Projections of relative positions to keys and queries; a model that does it by its own key and query has none.
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
    """Everything that is known of a family; nothing outside its table names its modules."""

    name: str  # as people write it
    model_type: str  # in config.json
    config: str  # transformers' class for its config
    classifier: str  # transformers' class for its classifiers
    inputs: tuple[str, ...]  # of its forward pass and its graph
    layers: str  # path of the list of layers
    parts: Parts  # of each layer
    embeddings: Embeddings
    head: tuple[Dense, ...]  # reads the last layer's first token, or what the builder says; the last gives the logits
    # Settings that its config calls otherwise than BERT's does.
    config_names: Mapping[str, str] = field(default_factory=dict)
    tokenizer: str = "WordPiece"  # the kind that its published models have; one of another kind works too
    # Whether positions count the tokens that are no padding: the n-th reads row pad_id + n, and padding row pad_id.
    counts_tokens: bool = False
    # Which of the builders in graph/ it has. Post-norm: each block's sum with its input is followed by a layer norm.
    builder: str = "post-norm"
    final_norm: str | None = None  # of the last layer's output, where layers begin with their norms and not end
    relative_positions: RelativePositions | None = None
    rotary_positions: str | None = None  # path of what turns queries and keys by their positions
    own_settings: tuple[str, ...] = ()  # of its config, that say which weights it has; absent ones have their defaults
    repeats_hidden_size: tuple[str, ...] = ()  # settings of its config that must be equal to the hidden size
    unread: tuple[str, ...] = ()  # weights that its pre-training leaves in a file under names of their own
    refusal: Callable[[Any], str | None] = lambda _: None  # why a model of this config cannot be worked on, if so
    head_norm: str | None = None  # after the activation of the head's first layer

    def read(self, config: Any, setting: str) -> Any:
        """A setting of one of its configs, by the name that BERT's has for it."""
        return getattr(config, self.config_names.get(setting, setting))

    def renamed(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Settings by the names that its configs have for them."""
        return {self.config_names.get(name, name): value for name, value in settings.items()}

    def head_size(self, config: Any) -> int:
        """Width of one attention head; only the config of a pruned model says it."""
        whole = self.read(config, "hidden_size") // self.read(config, "num_attention_heads")
        return int(getattr(config, "attention_head_size", whole))
