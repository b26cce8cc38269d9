"""compress: make a fine-tuned BERT small and fast, and prove it."""

from importlib import import_module
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
    globals()[name] = value  # a submodule of the same name (compress.export) must not shadow the function
    return value


register_when_imported()
