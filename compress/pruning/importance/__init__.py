"""How much each attention head and FFN neuron matters."""

from compress.pruning.importance.scores import Importance

__all__ = ["Importance"]
