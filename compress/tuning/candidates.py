"""The models that are worth a try: whole layers, narrower students and cuts for a latency, each a recipe's steps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from compress.modeling.widths import Architecture, Cut, Widths, parameters

Steps = dict[str, dict[str, Any]]

SPEEDUPS = (1.5, 2.0, 3.0, 4.5, 7.0)  # of the cuts, by the latency table
_HIDDEN_STEP = 16


@dataclass(frozen=True)
class Candidate:
    """A way to make a model out of the teacher.

    Attributes:
        name: of the model; the steps that make it are called after it.
        command: the step that trains it, ``distill`` or ``prune``; empty for the teacher itself in int8.
        settings: that step's own.
        share: of the teacher's layers, by their weights: what training takes, and about what an answer takes.
        megabytes: about the size of the int8 model.
        cuts_words: whether tokens that the texts lack are removed after the training.
        activations: how they become int8.
    """

    name: str
    command: str
    settings: Mapping[str, Any]
    share: float
    megabytes: float
    cuts_words: bool = False
    activations: str = "dynamic"

    @property
    def title(self) -> str:
        """Its name with what is done after the training, under which its tries are known."""
        ending = ["fewer-words" if self.cuts_words else "", "static" if self.activations == "static" else ""]
        return "-".join(filter(None, [self.name, *ending]))

    def label(self, epochs: int) -> str:
        """The step that writes the int8 model after so many epochs."""
        return f"{self.title}-{epochs}-epochs" if self.command else self.title

    def steps(self, teacher: str, epochs: int, training: Mapping[str, Any], int8: Mapping[str, Any]) -> Steps:
        """The fragment of a recipe that makes it; the last step, :meth:`label`, writes the int8 model."""
        made, model = Steps(), teacher
        if self.command:
            whose = {"distill": "teacher", "prune": "model"}[self.command]
            trained = f"{self.name}-{epochs}-epochs-trained"
            made[trained] = {"step": self.command, whose: teacher, "epochs": epochs, **training, **self.settings}
            model = trained
        if self.cuts_words:
            smaller = f"{self.name}-{epochs}-epochs-words" if self.command else f"{self.name}-words"
            made[smaller] = {"step": "prune", "model": model, "vocabulary": True}
            model = smaller
        made[self.label(epochs)] = {"step": "quantize", "model": model, "activations": self.activations, **int8}
        return made

    def variants(self) -> list["Candidate"]:
        """The same model with a smaller vocabulary, and with static activations: nothing is trained again for them."""
        found = [] if self.cuts_words else [replace(self, cuts_words=True)]
        return found if self.activations == "static" else [*found, replace(self, activations="static")]


def candidates_of(architecture: Architecture, whole: Widths, cuts: Mapping[float, Cut]) -> list[Candidate]:
    """All of them, the teacher itself first, then by what they cost to train, the cheapest first.

    ``cuts`` are the cuts for a latency, by their speed-up.
    """
    depth = len(whole.heads)
    found = [_whole_layers(architecture, whole, kept) for kept in depths(depth)]
    found += [_narrow(architecture, whole, kept) for kept in sorted({max(1, depth // 2), max(1, depth // 3)})]
    found += [_cut(architecture, whole, speedup, cut) for speedup, cut in cuts.items()]
    itself = Candidate("teacher-int8", "", {}, 1.0, _megabytes(architecture, whole))
    return [itself, *sorted(found, key=lambda each: each.share)]


def depths(depth: int) -> list[int]:
    """Numbers of layers to keep: close to each other where few are left."""
    wanted = {1, 2, 3, depth // 4, depth // 2, 2 * depth // 3, depth - 1}
    return sorted(kept for kept in wanted if 0 < kept < depth)


def thinned(candidates: Sequence[Candidate], count: int) -> list[Candidate]:
    """So many of them, evenly spaced from the cheapest to the dearest; the teacher itself stays."""
    itself, *others = candidates
    last = len(others) - 1
    places = {round(number * last / max(1, count - 1)) for number in range(count)} if count > 1 else {last // 2}
    return [itself, *(others[place] for place in sorted(places) if others)]


def _whole_layers(architecture: Architecture, whole: Widths, kept: int) -> Candidate:
    widths = Widths(whole.heads[:kept], whole.neurons[:kept])
    return _made(f"layers-{kept}", "distill", {"layers": kept}, architecture, architecture, whole, widths)


def _narrow(architecture: Architecture, whole: Widths, kept: int) -> Candidate:
    hidden = architecture.hidden_size // 2 // _HIDDEN_STEP * _HIDDEN_STEP or architecture.hidden_size
    heads, neurons = max(1, max(whole.heads) // 2), max(1, max(whole.neurons) // 2)
    settings = {"layers": kept, "hidden_size": hidden, "heads": heads, "ffn_size": neurons}
    widths = Widths.even(kept, heads, neurons)
    narrower = replace(architecture, hidden_size=hidden)
    return _made(f"narrow-{kept}x{hidden}", "distill", settings, architecture, narrower, whole, widths)


def _cut(architecture: Architecture, whole: Widths, speedup: float, cut: Cut) -> Candidate:
    """The layers of the cut and its shares of heads and neurons: a latency in the recipe would be measured anew."""
    after, layers = cut.widths, cut.layers
    left = [sum(counts[layer] for layer in layers) for counts in (whole.heads, whole.neurons)]
    shares = [1 - sum(kept) / max(1, total) for kept, total in zip((after.heads, after.neurons), left, strict=True)]
    settings: dict[str, Any] = {"heads": round(shares[0], 4), "ffn": round(shares[1], 4)}
    if len(layers) < len(whole.heads):
        settings["layers"] = layers
    name = f"cut-{speedup:g}x"
    return _made(name, "prune", settings, architecture, architecture, whole, after.inhabited)


def _made(
    name: str,
    command: str,
    settings: Mapping[str, Any],
    architecture: Architecture,
    own: Architecture,
    whole: Widths,
    widths: Widths,
) -> Candidate:
    share = _in_layers(own, widths) / _in_layers(architecture, whole)
    return Candidate(name, command, settings, share, _megabytes(own, widths))


def _in_layers(architecture: Architecture, widths: Widths) -> int:
    return parameters(architecture, widths) - parameters(architecture, Widths((), ()))


def _megabytes(architecture: Architecture, widths: Widths) -> float:
    """A byte a weight, of which few stay in fp32."""
    return parameters(architecture, widths) / 1e6
