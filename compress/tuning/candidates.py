"""The models that are worth a try, each as a recipe's steps: whole layers, narrower students, cuts for a latency."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from compress.latency.deployment import parameters
from compress.modeling.widths import Architecture, Cut, Widths

Steps = dict[str, dict[str, Any]]

ITSELF = "teacher-int8"
SPEEDUPS = (1.5, 2.0, 2.5, 3.0, 3.7, 4.5, 5.6, 7.0)  # of the cuts, by the latency table: each about a quarter more
_HIDDEN_STEP = 16
_GRAPH_MB = 0.1  # about the size of the graph without its weights


def label_of(title: str, epochs: float) -> str:
    """The name of a candidate's int8 model after ``epochs`` of training; 0 epochs: nothing is trained."""
    return f"{title}-{epochs:g}-epochs" if epochs else title


@dataclass(frozen=True)
class Candidate:
    """A way to make a model out of the teacher.

    Attributes:
        name: the name of the model, with which the names of its steps begin.
        command: the step that trains it, ``distill`` or ``prune``; empty for the teacher itself in int8.
        settings: settings of that step.
        share: encoder weights as a fraction of the teacher's; training time, and roughly latency, are in proportion.
        megabytes: about the size of the int8 model.
        cuts_vocabulary: whether tokens that the texts lack are removed after the training.
        activations: how quantize quantizes the activations, ``dynamic`` or ``static``.
        embeddings: the integers of the word embeddings, ``int8`` or ``int4``.
    """

    name: str
    command: str
    settings: Mapping[str, Any]
    share: float
    megabytes: float
    cuts_vocabulary: bool = False
    activations: str = "dynamic"
    embeddings: str = "int8"

    @property
    def title(self) -> str:
        """The name with what is done after the training; tries are known by it."""
        ending = {"fewer-words": self.cuts_vocabulary, "int4": self.embeddings == "int4", "static": self.is_static}
        return "-".join([self.name, *(each for each, applies in ending.items() if applies)])

    @property
    def is_static(self) -> bool:
        """Whether its activations are."""
        return self.activations == "static"

    def label(self, epochs: float) -> str:
        """The name of the step that writes the int8 model after ``epochs`` of training."""
        return label_of(self.title, epochs)

    def trained(self, epochs: float) -> str:
        """The name of the step that trains for ``epochs``."""
        return f"{self.name}-{epochs:g}-epochs-trained"

    def steps(self, teacher: str, epochs: float, training: Mapping[str, Any], int8: Mapping[str, Any]) -> Steps:
        """The recipe's steps that make the model; the last one, :meth:`label`, writes it in int8."""
        steps, model = Steps(), teacher
        if self.command:
            input_name = {"distill": "teacher", "prune": "model"}[self.command]
            model = self.trained(epochs)
            steps[model] = {"step": self.command, input_name: teacher, "epochs": epochs, **training, **self.settings}
        if self.cuts_vocabulary:
            smaller = f"{self.name}-{epochs:g}-epochs-words" if self.command else f"{self.name}-words"
            steps[smaller] = {"step": "prune", "model": model, "vocabulary": True}
            model = smaller
        precision = {"activations": self.activations} | ({"embeddings": "int4"} if self.embeddings == "int4" else {})
        steps[self.label(epochs)] = {"step": "quantize", "model": model, **precision, **int8}
        return steps

    def variants(self) -> list["Candidate"]:
        """This model with a smaller vocabulary, and with static activations: nothing is trained again for them."""
        variants = [] if self.cuts_vocabulary else [replace(self, cuts_vocabulary=True)]
        return variants if self.is_static else [*variants, replace(self, activations="static")]


@dataclass(frozen=True)
class TeacherShape:
    """The teacher's shape.

    An int8 model above ``most_mb`` keeps only the tokens of the smaller vocabulary; where it is still above, its word
    embeddings are in int4.
    """

    architecture: Architecture
    widths: Widths
    smaller_vocabulary: int = 0  # tokens that it would keep; 0: none can be removed
    most_mb: float | None = None

    def candidate(
        self,
        name: str,
        command: str,
        settings: Mapping[str, Any],
        widths: Widths | None = None,
        hidden_size: int | None = None,
    ) -> Candidate:
        """A candidate whose model has these ``widths``, by default the teacher's."""
        own = replace(self.architecture, hidden_size=hidden_size or self.architecture.hidden_size)
        widths = widths or self.widths
        share = _in_layers(own, widths) / _in_layers(self.architecture, self.widths)
        candidate = Candidate(name, command, settings, share, _megabytes(own, widths))
        if self.most_mb is None or candidate.megabytes <= self.most_mb:
            return candidate
        if self.smaller_vocabulary:
            own = replace(own, vocabulary=self.smaller_vocabulary)
            candidate = replace(candidate, megabytes=_megabytes(own, widths), cuts_vocabulary=True)
        if candidate.megabytes <= self.most_mb:
            return candidate
        megabytes = candidate.megabytes - own.vocabulary * (own.embedding_size or own.hidden_size) / 2e6
        if not command and megabytes > self.most_mb:  # the teacher is measured also where it is too large
            return candidate
        return replace(candidate, megabytes=megabytes, embeddings="int4")


def candidates_of(teacher: TeacherShape, cuts: Mapping[float, Cut]) -> list[Candidate]:
    """All candidates: the teacher itself first, then the others, the cheapest to train first.

    ``cuts`` are the cuts for a latency, by their speed-up.
    """
    depth = len(teacher.widths.heads)
    students = [_whole_layers(teacher, kept) for kept in depths(depth)]
    students += [_narrow(teacher, kept) for kept in sorted({max(1, depth // 2), max(1, depth // 3)})]
    # A recipe cannot name a cut that leaves no head, or no neuron, in any layer.
    possible = {speedup: cut for speedup, cut in cuts.items() if any(cut.widths.heads) and any(cut.widths.neurons)}
    students += [_cut(teacher, speedup, cut) for speedup, cut in possible.items()]
    return [teacher.candidate(ITSELF, "", {}), *sorted(students, key=lambda each: each.share)]


def depths(depth: int) -> list[int]:
    """Numbers of layers to keep: close to each other where few are left."""
    wanted = {1, 2, 3, depth // 4, depth // 2, 2 * depth // 3, depth - 1}
    return sorted(kept for kept in wanted if 0 < kept < depth)


def likeliest(candidates: Sequence[Candidate], count: int) -> list[Candidate]:
    """The teacher itself and the ``count`` others that promise most, within each kind evenly spaced by cost.

    Cuts come first: they answer nearly as the teacher does before any training. Whole layers are next. Narrow students
    come last: they begin almost from nothing, so a short training says little of them.
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


def _whole_layers(teacher: TeacherShape, kept: int) -> Candidate:
    widths = Widths(teacher.widths.heads[:kept], teacher.widths.neurons[:kept])
    return teacher.candidate(f"layers-{kept}", "distill", {"layers": kept}, widths)


def _narrow(teacher: TeacherShape, kept: int) -> Candidate:
    """A student of half the teacher's width: hidden size, heads and neurons."""
    size = teacher.architecture.hidden_size
    hidden = size // 2 // _HIDDEN_STEP * _HIDDEN_STEP or size
    heads, neurons = (max(1, max(counts) // 2) for counts in (teacher.widths.heads, teacher.widths.neurons))
    settings = {"layers": kept, "hidden_size": hidden, "heads": heads, "ffn_size": neurons}
    return teacher.candidate(f"narrow-{kept}x{hidden}", "distill", settings, Widths.even(kept, heads, neurons), hidden)


def _cut(teacher: TeacherShape, speedup: float, cut: Cut) -> Candidate:
    """A cut by its layers and shares of heads and neurons: with a latency, the recipe would measure it anew."""
    after, layers = cut.widths, cut.layers
    left = [sum(counts[layer] for layer in layers) for counts in (teacher.widths.heads, teacher.widths.neurons)]
    heads, ffn = (1 - sum(kept) / max(1, total) for kept, total in zip((after.heads, after.neurons), left, strict=True))
    settings: dict[str, Any] = {"heads": round(heads, 4), "ffn": round(ffn, 4)}
    if len(layers) < len(teacher.widths.heads):
        settings["layers"] = layers
    return teacher.candidate(f"cut-{speedup:g}x", "prune", settings, after.inhabited)


def _megabytes(architecture: Architecture, widths: Widths) -> float:
    """About the size of the int8 model: a byte a weight, but for a table of positions, which stays in fp32."""
    weights = parameters(architecture, widths)
    positions = parameters(replace(architecture, positions=2 * architecture.positions), widths) - weights
    return _GRAPH_MB + (weights + 3 * positions) / 1e6


def _in_layers(architecture: Architecture, widths: Widths) -> int:
    return parameters(architecture, widths) - parameters(architecture, Widths((), ()))
