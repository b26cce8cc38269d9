"""Makes ``AutoModel...from_pretrained`` know pruned models after ``import compress``, at no cost to apps.

Importing transformers takes seconds and an app that serves ONNX has none, so the registration waits until the program
itself imports transformers. It waits for the package and not for the Auto modules alone, since transformers imports
those half-way through others, where a BERT class cannot be made yet.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from types import ModuleType


def register_when_imported() -> None:
    """Register pruned models with transformers: now where it is imported already, else as soon as it is."""
    if "transformers" in sys.modules:
        _register()
    elif not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def _register() -> None:
    if find_spec("torch") is not None:  # transformers without torch has no models to register with
        import_module("compress.modeling.pruned")


class _Loader(Loader):
    """Runs a module's own loader, then the registration that waited for it."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Finder)]
        _register()


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "transformers":
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec
