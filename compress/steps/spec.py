"""Every step, declared once: its command, its help, its recipe class, its schema and its public name come from here.

A step's module is imported when it is needed: ``compress --help`` must work without pydantic and torch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from compress.config import Settings


@dataclass(frozen=True)
class ModelInput:
    """An argument of a step that is a model: positional on the command line, a keyword in Python and in recipes."""

    name: str
    help: str
    metavar: str = "MODEL"
    many: bool = False  # a list of models


@dataclass(frozen=True)
class StepSpec:
    """One step: the function ``name`` of ``module``, with the settings class ``config`` of :mod:`compress.config`.

    A step of another package has its settings class in ``module``.

    The function takes as keywords the ``inputs``, ``data`` if ``takes_data``, ``out``, ``overwrite`` and the settings,
    and returns a :class:`compress.steps.step.StepResult`.
    """

    name: str
    summary: str
    inputs: tuple[ModelInput, ...]
    module: str
    config: str
    takes_data: bool = True
    usage: str = ""  # settings of which the user must give one

    @property
    def call(self) -> Callable[..., Any]:
        """The function itself."""
        return getattr(import_module(self.module), self.name)  # type: ignore[no-any-return]

    @property
    def settings(self) -> "type[Settings]":
        """The class of the step's own settings; the module, whose import may take seconds, is searched last."""
        from compress import config

        owner = config if hasattr(config, self.config) else import_module(self.module)
        return getattr(owner, self.config)  # type: ignore[no-any-return]

    @property
    def groups(self) -> "tuple[type[Settings], ...]":
        """All groups of settings that the step takes: the data's too, if it reads data."""
        from compress.config import DataConfig

        return (DataConfig, self.settings) if self.takes_data else (self.settings,)

    @property
    def usage_line(self) -> str:
        """The command's arguments, in short."""
        models = [f"{model.metavar} [{model.metavar} ...]" if model.many else model.metavar for model in self.inputs]
        data = "--data D" if self.takes_data else ""
        return " ".join(filter(None, [*models, self.usage, data, "--out DIR [settings]"]))


_CLASSIFIER = "folder or hub id of a fine-tuned classifier"
_STEPS = (
    StepSpec(
        "finetune",
        "train a classifier on labelled texts",
        (ModelInput("model", "hub id or folder of a classifier or encoder; demo:minilm comes with the extra demo"),),
        "compress.steps.training",
        "FinetuneConfig",
    ),
    StepSpec(
        "distill",
        "make a smaller student and train it to answer as the teacher does",
        (
            ModelInput(
                "teacher",
                f"{_CLASSIFIER}; of several, the answers are averaged and the first's layers make the student; "
                "with --teacher-answers, any encoder to make the student of",
                "TEACHER",
                many=True,
            ),
        ),
        "compress.steps.training",
        "DistillConfig",
    ),
    StepSpec(
        "prune",
        "remove layers, attention heads, FFN neurons and unused tokens, and train to recover",
        (ModelInput("model", _CLASSIFIER),),
        "compress.steps.training",
        "PruneConfig",
        usage="(--speedup X | --target-latency-ms X | --heads R | --ffn R | --layers L | --hidden-size N | "
        "--vocabulary)",
    ),
    StepSpec(
        "export",
        "write the model as ONNX, checked against PyTorch, or laid out for a server or as one file",
        (
            ModelInput(
                "model",
                f"{_CLASSIFIER}; with --single-file or --for also an ONNX folder of export, quantize or calibrate, "
                "with --single-file also one of cascade",
            ),
        ),
        "compress.steps.deployment",
        "ExportConfig",
        takes_data=False,
    ),
    StepSpec(
        "quantize",
        "write the model as int8 ONNX, checked on validation texts",
        (ModelInput("model", "folder that export wrote, or a PyTorch one, which is exported first"),),
        "compress.steps.deployment",
        "QuantizeConfig",
    ),
    StepSpec(
        "calibrate",
        "choose a temperature, and the scores from which on a model answers",
        (ModelInput("model", "folder that export or quantize wrote, or a PyTorch one, which is exported first"),),
        "compress.steps.decisions",
        "CalibrateConfig",
    ),
    StepSpec(
        "cascade",
        "join a small model, which answers where it is sure, and a large one, which answers the other texts",
        (
            ModelInput("small", "the faster one: a folder that export or quantize wrote, or a PyTorch one", "SMALL"),
            ModelInput("large", "the better one, of the same labels: of the same kinds", "LARGE"),
        ),
        "compress.steps.decisions",
        "CascadeConfig",
    ),
    StepSpec(
        "bench",
        "measure accuracy, latency and size of models side by side",
        (ModelInput("models", "models, PyTorch or ONNX; the first is the reference", many=True),),
        "compress.steps.benchmark",
        "BenchConfig",
    ),
)
STEPS = {spec.name: spec for spec in _STEPS}
