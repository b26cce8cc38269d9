"""The configuration of a BERT whose layers differ in width; registers itself with the Auto classes."""

from typing import Any

from transformers import AutoConfig, BertConfig


class PrunedBertConfig(BertConfig):
    """A BERT with its own number of attention heads and FFN neurons in every layer.

    Args:
        attention_head_size: width of one head; the same in all layers.
        heads_per_layer: attention heads of each layer, 0 or more.
        neurons_per_layer: FFN neurons (intermediate size) of each layer, 0 or more.
    """

    model_type = "pruned_bert"
    attention_head_size: int = 64
    heads_per_layer: list[int] | None = None
    neurons_per_layer: list[int] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)  # type: ignore[no-untyped-call]  # transformers leaves it untyped
        self.heads_per_layer = self.heads_per_layer or [self.num_attention_heads] * self.num_hidden_layers
        self.neurons_per_layer = self.neurons_per_layer or [self.intermediate_size] * self.num_hidden_layers
        if not len(self.heads_per_layer) == len(self.neurons_per_layer) == self.num_hidden_layers:
            raise ValueError(
                f"heads_per_layer and neurons_per_layer need one entry for each of {self.num_hidden_layers} layers, "
                f"got {self.heads_per_layer} and {self.neurons_per_layer}"
            )


AutoConfig.register(PrunedBertConfig.model_type, PrunedBertConfig)
