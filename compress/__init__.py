"""compress: make a fine-tuned BERT small and fast, and prove it."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from compress import errors
from compress.modeling.register import register_when_imported
from compress.version import __version__ as __version__

if TYPE_CHECKING:
    from compress.recipes.run import run
    from compress.runtime.classifier import Classifier, Prediction, load
    from compress.steps import bench, distill, export, finetune, prune, quantize

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
    "run": "compress.recipes.run",
}


def __getattr__(name: str) -> Any:
    # Lazy, so that an app that only loads a model pays for nothing else.
    if name not in _HOMES:
        raise AttributeError(f"module 'compress' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


register_when_imported()
