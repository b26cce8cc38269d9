"""compress: make a fine-tuned BERT small and fast, and prove it."""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from compress import errors as errors
from compress.modeling.register import register_when_imported
from compress.version import __version__ as __version__

if TYPE_CHECKING:  # what type checkers see; a test compares it with __all__
    from compress.recipes.run import run as run
    from compress.runtime.classifier import Classifier as Classifier
    from compress.runtime.classifier import Prediction as Prediction
    from compress.runtime.classifier import load as load
    from compress.steps.benchmark import bench as bench
    from compress.steps.decisions import calibrate as calibrate
    from compress.steps.decisions import cascade as cascade
    from compress.steps.decisions import check as check
    from compress.steps.deployment import export as export
    from compress.steps.deployment import quantize as quantize
    from compress.steps.step import StepResult as StepResult
    from compress.steps.training import distill as distill
    from compress.steps.training import finetune as finetune
    from compress.steps.training import prune as prune
    from compress.tuning.auto import auto as auto

# From 1.29 on onnxruntime reports the models that a process opens to its maker, and keeps an identifier of the device
# in the home folder. It reads this variable when it is imported, which no import above does. A user's own value stays.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_MODULES = {
    **dict.fromkeys(("Classifier", "Prediction", "load"), "compress.runtime.classifier"),
    "StepResult": "compress.steps.step",
    "check": "compress.steps.decisions",
    "run": "compress.recipes.run",
    "auto": "compress.tuning.auto",
}


def __getattr__(name: str) -> Any:
    # Lazy: an app that only loads a model must not wait for anything else to be imported.
    if name not in _MODULES:
        from compress.steps.spec import STEPS  # a step is public by its declaration alone

        _MODULES.update({step: spec.module for step, spec in STEPS.items()})
    if name == "__all__":
        return sorted(("errors", *_MODULES))
    if name not in _MODULES:
        raise AttributeError(f"module 'compress' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__getattr__("__all__")})


register_when_imported()
