"""Every step, declared once: its command, its help, its recipe class, its schema and its public name come from here.

Light to import, since ``compress --help`` must work where neither pydantic nor torch is installed: the settings and the
function of a step are named here, and loaded when they are needed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from compress.config import Settings


@dataclass(frozen=True)
class ModelInput:
    """An argument of a step that is a model: positional on the command line, a keyword in Python and in recipes.

    Attributes:
        name: the keyword.
        help: which models it may be.
        metavar: what the command's usage line calls it.
        many: whether it is a list of models.
    """

    name: str
    help: str
    metavar: str = "MODEL"
    many: bool = False


@dataclass(frozen=True)
class StepSpec:
    """One step.

    Attributes:
        name: of the command, of the function in ``compress``, and of the step in recipes.
        summary: one line of help.
        inputs: the models that it reads, in the order of the command line.
        config: where its settings are, ``module:class``.
        function: where it is, ``module:function``. It takes ``inputs`` by name, ``data`` if ``takes_data``, ``out``,
            ``overwrite`` and the settings as keywords, and returns a :class:`compress.steps.step.StepResult`.
        takes_data: whether it reads labelled texts.
        usage: the settings that a user must choose from, for the command's usage line.
    """

    name: str
    summary: str
    inputs: tuple[ModelInput, ...]
    config: str
    function: str
    takes_data: bool = True
    usage: str = ""

    @property
    def settings(self) -> "type[Settings]":
        """The step's own settings."""
        return resolve_name(self.config)  # type: ignore[no-any-return]

    @property
    def groups(self) -> "tuple[type[Settings], ...]":
        """All groups of settings that it takes, with those of the data."""
        from compress.config import DataConfig

        return (DataConfig, self.settings) if self.takes_data else (self.settings,)

    @property
    def call(self) -> Callable[..., Any]:
        """The function itself."""
        return resolve_name(self.function)  # type: ignore[no-any-return]

    @property
    def usage_line(self) -> str:
        """What the command takes, in short."""
        models = [f"{one.metavar} [{one.metavar} ...]" if one.many else one.metavar for one in self.inputs]
        data = ["--data D"] if self.takes_data else []
        return " ".join([*models, *([self.usage] if self.usage else []), *data, "--out DIR [settings]"])


_CLASSIFIER = "folder or hub id of a fine-tuned BERT classifier"
STEPS = {
    spec.name: spec
    for spec in (
        StepSpec(
            name="finetune",
            summary="train a classifier on labelled texts",
            inputs=(
                ModelInput(
                    "model", "hub id or folder of a BERT classifier or encoder; demo:minilm ships with compress"
                ),
            ),
            config="compress.config:FinetuneConfig",
            function="compress.steps.training:finetune",
        ),
        StepSpec(
            name="distill",
            summary="make a smaller student and train it to answer as the teacher does",
            inputs=(ModelInput("teacher", _CLASSIFIER, metavar="TEACHER"),),
            config="compress.config:DistillConfig",
            function="compress.steps.training:distill",
        ),
        StepSpec(
            name="prune",
            summary="remove layers, attention heads, FFN neurons and unused tokens, and train to recover",
            inputs=(ModelInput("model", _CLASSIFIER),),
            config="compress.config:PruneConfig",
            function="compress.steps.pruning:prune",
            usage="(--speedup X | --target-latency-ms X | --heads R --ffn R | --vocabulary)",
        ),
        StepSpec(
            name="export",
            summary="write the model as ONNX, checked against PyTorch, or laid out for a server or as one file",
            inputs=(
                ModelInput(
                    "model",
                    f"{_CLASSIFIER}; with --single-file or --for also an ONNX folder that export or quantize wrote",
                ),
            ),
            config="compress.config:ExportConfig",
            function="compress.steps.exporting:export",
            takes_data=False,
        ),
        StepSpec(
            name="quantize",
            summary="write the model as int8 ONNX, checked on validation texts",
            inputs=(ModelInput("model", "folder that export wrote, or a PyTorch one, which is exported first"),),
            config="compress.config:QuantizeConfig",
            function="compress.steps.exporting:quantize",
        ),
        StepSpec(
            name="bench",
            summary="measure accuracy, latency and size of models side by side",
            inputs=(ModelInput("models", "models, PyTorch or ONNX; the first is the reference", many=True),),
            config="compress.config:BenchConfig",
            function="compress.steps.benching:bench",
        ),
    )
}
