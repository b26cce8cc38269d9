"""compress: make a fine-tuned BERT small and fast, and prove it."""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from compress import errors
from compress.modeling.register import register_when_imported

if TYPE_CHECKING:
    from compress.pipeline import run
    from compress.runtime.classifier import Classifier, Prediction, load
    from compress.steps import bench, distill, export, finetune, prune, quantize

__version__ = "0.1.0"
__all__ = [
    "Classifier",
    "Prediction",
    "bench",
    "distill",
    "errors",
    "export",
    "finetune",
    "load",
    "prune",
    "quantize",
    "run",
]

_HOMES = {
    **dict.fromkeys(("Classifier", "Prediction", "load"), "compress.runtime.classifier"),
    **dict.fromkeys(("finetune", "distill", "prune", "export", "quantize", "bench"), "compress.steps"),
    "run": "compress.pipeline",
}


def __getattr__(name: str) -> Any:
    # Lazy, so that an app that only loads a model pays for nothing else.
    if name not in _HOMES:
        raise AttributeError(f"module 'compress' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


class _Package(ModuleType):
    def __setattr__(self, name: str, value: object) -> None:
        # Importing a subpackage (compress.export) binds it here; the step of the same name must not vanish behind it.
        if name not in _HOMES or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


register_when_imported()
