"""The models that are worth a try: whole layers, narrower students and cuts for a latency, each a recipe's steps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from compress.latency.deployment import parameters
from compress.modeling.widths import Architecture, Cut, Widths

Steps = dict[str, dict[str, Any]]

ITSELF = "teacher-int8"
SPEEDUPS = (1.5, 2.0, 3.0, 4.5, 7.0)  # of the cuts, by the latency table
_HIDDEN_STEP = 16


def label_of(title: str, epochs: float) -> str:
    """The name of the int8 model of a candidate's title after so many epochs; 0 where nothing is trained."""
    return f"{title}-{epochs:g}-epochs" if epochs else title


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

    def label(self, epochs: float) -> str:
        """The step that writes the int8 model after so many epochs."""
        return label_of(self.title, epochs)

    def trained(self, epochs: float) -> str:
        """The step that trains so many epochs."""
        return f"{self.name}-{epochs:g}-epochs-trained"

    def steps(self, teacher: str, epochs: float, training: Mapping[str, Any], int8: Mapping[str, Any]) -> Steps:
        """The fragment of a recipe that makes it; the last step, :meth:`label`, writes the int8 model."""
        made, model = Steps(), teacher
        if self.command:
            whose = {"distill": "teacher", "prune": "model"}[self.command]
            model = self.trained(epochs)
            made[model] = {"step": self.command, whose: teacher, "epochs": epochs, **training, **self.settings}
        if self.cuts_words:
            smaller = f"{self.name}-{epochs:g}-epochs-words" if self.command else f"{self.name}-words"
            made[smaller] = {"step": "prune", "model": model, "vocabulary": True}
            model = smaller
        made[self.label(epochs)] = {"step": "quantize", "model": model, "activations": self.activations, **int8}
        return made

    def variants(self) -> list["Candidate"]:
        """The same model with a smaller vocabulary, and with static activations: nothing is trained again for them."""
        found = [] if self.cuts_words else [replace(self, cuts_words=True)]
        return found if self.activations == "static" else [*found, replace(self, activations="static")]


@dataclass(frozen=True)
class Whole:
    """The teacher's shape. Where an int8 model would be larger than ``most_mb``, it keeps only ``words`` tokens."""

    architecture: Architecture
    widths: Widths
    words: int = 0
    most_mb: float | None = None

    def candidate(
        self,
        name: str,
        command: str,
        settings: Mapping[str, Any],
        widths: Widths | None = None,
        hidden_size: int | None = None,
    ) -> Candidate:
        """One whose model has these ``widths``."""
        own = replace(self.architecture, hidden_size=hidden_size or self.architecture.hidden_size)
        widths = widths or self.widths
        share = _in_layers(own, widths) / _in_layers(self.architecture, self.widths)
        megabytes = parameters(own, widths) / 1e6  # a byte a weight, of which few stay in fp32
        if self.most_mb is None or megabytes <= self.most_mb or not self.words:
            return Candidate(name, command, settings, share, megabytes)
        megabytes = parameters(replace(own, vocabulary=self.words), widths) / 1e6
        return Candidate(name, command, settings, share, megabytes, cuts_words=True)


def candidates_of(whole: Whole, cuts: Mapping[float, Cut]) -> list[Candidate]:
    """All of them, the teacher itself first, then by what they cost to train, the cheapest first.

    ``cuts`` are the cuts for a latency, by their speed-up.
    """
    depth = len(whole.widths.heads)
    found = [_whole_layers(whole, kept) for kept in depths(depth)]
    found += [_narrow(whole, kept) for kept in sorted({max(1, depth // 2), max(1, depth // 3)})]
    # A recipe cannot name a cut that leaves no head, or no neuron, in any layer.
    possible = {speedup: cut for speedup, cut in cuts.items() if any(cut.widths.heads) and any(cut.widths.neurons)}
    found += [_cut(whole, speedup, cut) for speedup, cut in possible.items()]
    return [whole.candidate(ITSELF, "", {}), *sorted(found, key=lambda each: each.share)]


def depths(depth: int) -> list[int]:
    """Numbers of layers to keep: close to each other where few are left."""
    wanted = {1, 2, 3, depth // 4, depth // 2, 2 * depth // 3, depth - 1}
    return sorted(kept for kept in wanted if 0 < kept < depth)


def likeliest(candidates: Sequence[Candidate], count: int) -> list[Candidate]:
    """The teacher itself and ``count`` others, those of a kind evenly spaced by what they cost.

    Cuts come first, which answer nearly as the teacher does before any training, then whole layers; what is narrower
    throughout begins almost from nothing, and only a long training tells anything of it.
    """
    itself, *others = candidates
    kinds = [[each for each in others if _steps_from_the_teacher(each) == steps] for steps in range(3)]
    chosen: list[Candidate] = []
    for kind in kinds:
        wanted = min(count - len(chosen), len(kind))
        chosen += [kind[(2 * number + 1) * len(kind) // (2 * wanted)] for number in range(wanted)]
    return [itself, *(each for each in others if each in chosen)]


def _steps_from_the_teacher(candidate: Candidate) -> int:
    if candidate.command == "prune":
        return 0
    return 2 if "hidden_size" in candidate.settings else 1


def _whole_layers(whole: Whole, kept: int) -> Candidate:
    widths = Widths(whole.widths.heads[:kept], whole.widths.neurons[:kept])
    return whole.candidate(f"layers-{kept}", "distill", {"layers": kept}, widths)


def _narrow(whole: Whole, kept: int) -> Candidate:
    """Half as wide in everything."""
    size = whole.architecture.hidden_size
    hidden = size // 2 // _HIDDEN_STEP * _HIDDEN_STEP or size
    heads, neurons = (max(1, max(counts) // 2) for counts in (whole.widths.heads, whole.widths.neurons))
    settings = {"layers": kept, "hidden_size": hidden, "heads": heads, "ffn_size": neurons}
    return whole.candidate(f"narrow-{kept}x{hidden}", "distill", settings, Widths.even(kept, heads, neurons), hidden)


def _cut(whole: Whole, speedup: float, cut: Cut) -> Candidate:
    """The layers of the cut and its shares of heads and neurons: a latency in the recipe would be measured anew."""
    after, layers = cut.widths, cut.layers
    left = [sum(counts[layer] for layer in layers) for counts in (whole.widths.heads, whole.widths.neurons)]
    heads, ffn = (1 - sum(kept) / max(1, total) for kept, total in zip((after.heads, after.neurons), left, strict=True))
    settings: dict[str, Any] = {"heads": round(heads, 4), "ffn": round(ffn, 4)}
    if len(layers) < len(whole.widths.heads):
        settings["layers"] = layers
    return whole.candidate(f"cut-{speedup:g}x", "prune", settings, after.inhabited)


def _in_layers(architecture: Architecture, widths: Widths) -> int:
    return parameters(architecture, widths) - parameters(architecture, Widths((), ()))
