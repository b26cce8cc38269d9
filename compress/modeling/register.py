"""Makes ``AutoModel...from_pretrained`` know pruned models after ``import compress``, at no cost to apps.

Importing transformers takes seconds and an app that serves ONNX has none, so the registration waits until the program
itself imports transformers. It waits for the package and not for the Auto modules alone, since transformers imports
those half-way through others, where a BERT class cannot be made yet.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from types import ModuleType

OLDEST = (5, 17)  # the transformers that [train] needs at least


def register_when_imported() -> None:
    """Register pruned models with transformers: now where it is imported already, else as soon as it is."""
    if "transformers" in sys.modules:
        _register()
    elif not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def _register() -> None:
    if find_spec("torch") is None:  # transformers without torch has no models to register with
        return
    import re  # slow, and by now transformers has imported it
    import warnings

    version = getattr(sys.modules["transformers"], "__version__", "")
    if tuple(map(int, re.findall(r"\d+", version)[:2])) < OLDEST:  # an app that only serves ONNX may need it for itself
        return
    try:
        import_module("compress.modeling.pruned")
    except Exception as error:  # noqa: BLE001 - so may it need a newer one, which lacks or refuses anything
        warnings.warn(f"pruned models do not load with transformers {version}: {error!r:.200}", stacklevel=2)


class _Finder:  # without importlib.abc's MetaPathFinder: importing it takes longer than importing compress
    """Finds transformers with a loader that registers pruned models once it has run."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path, target) if fullname == "transformers" else None
        if spec is not None and spec.loader is not None:
            run_module = spec.loader.exec_module

            def run_and_register(module: ModuleType) -> None:
                run_module(module)
                sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Finder)]
                _register()

            spec.loader.exec_module = run_and_register  # type: ignore[method-assign]
        return spec
