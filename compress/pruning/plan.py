"""What to cut for a latency, and what is left then, for those who decide and for the manifest."""

from dataclasses import asdict, dataclass
from typing import Any

from compress.modeling.widths import Cut, Widths


@dataclass(frozen=True)
class PruningPlan:
    """A cut, and the model that it leaves.

    Attributes:
        cut: the heads and neurons of each layer that stay.
        hidden_size: of the model that is left.
        before: widths of the whole model.
        after: widths that stay, 0 and 0 for a layer that goes.
        predicted_ms: latency by the table.
        latency_ms: that of a model of these widths, measured.
        whole_ms: that of the whole model.
        layer_ms: what each layer costs by the table.
        size_bytes: of the file that is served.
        parameters: that stay.
        kept: share of the importance that stays.
    """

    cut: Cut
    hidden_size: int
    before: Widths
    after: Widths
    predicted_ms: float
    latency_ms: float
    whole_ms: float
    layer_ms: tuple[float, ...]
    size_bytes: int
    parameters: int
    kept: float

    def as_metrics(self) -> dict[str, Any]:
        """For the manifest."""
        names = ("predicted_ms", "whole_ms", "size_bytes", "parameters", "kept", "hidden_size")
        told = {name: getattr(self, name) for name in names}
        return {"predicted_speedup": self.whole_ms / self.predicted_ms} | told | {"widths": asdict(self.after)}

    def __str__(self) -> str:
        lines = [
            f"plan: {self.latency_ms:.3g} ms (by the table {self.predicted_ms:.3g}) instead of {self.whole_ms:.3g}, "
            f"{self.whole_ms / self.latency_ms:.2f}x; {self.size_bytes / 1e6:.1f} MB, {self.parameters:,} parameters, "
            f"hidden size {self.hidden_size}, {self.kept:.1%} of the importance"
        ]
        pairs = zip(self.before.heads, self.before.neurons, self.after.heads, self.after.neurons, self.layer_ms)  # noqa: B905
        for layer, (heads, neurons, kept_heads, kept_neurons, layer_ms) in enumerate(pairs):
            stays = (
                f"{kept_heads:2} of {heads} heads, {kept_neurons:5,} of {neurons:,} neurons, {layer_ms:.3f} ms"
                if kept_heads or kept_neurons
                else "goes"
            )
            lines.append(f"  layer {layer:2}: {stays}")
        return "\n".join(lines)
