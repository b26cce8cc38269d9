"""Whether a step's folder is still what the recipe would make: fingerprints of its inputs, digests of its output."""

import hashlib
import json
import shutil
from pathlib import Path

from compress.errors import CompressError
from compress.folder import MANIFEST, digest_tree, is_ours, read_manifest
from compress.paths import local_path
from compress.progress import say

STATE = "run.json"


def fingerprint_of(whole: object) -> str:
    """sha256 of anything that JSON can hold; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


def digest_source(source: str) -> str:
    """Digest of a model's, folder's or file's content; the name itself where there is no such path, as for a hub id."""
    path = local_path(source)
    if (path / MANIFEST).is_file():
        return read_manifest(path).digest  # of the files it lists; the manifest has times in it, which always differ
    return digest_tree(path) if path.exists() else source


class RunState:
    """The memory of a run, ``run.json``: for each step the fingerprint of its inputs and the digest of its output."""

    def __init__(self, folder: Path, *, forget: bool) -> None:
        self.folder = folder
        self._steps: dict[str, dict[str, str]] = {}
        if not forget:
            try:
                remembered = json.loads((folder / STATE).read_text(encoding="utf-8")).get("steps", {})
                self._steps = {name: dict(entry) for name, entry in remembered.items()}
            except (ValueError, AttributeError, TypeError):
                say(f"{folder / STATE}: damaged, every step runs again")

    def is_fresh(self, name: str, fingerprint: str) -> bool:
        """Whether the folder ``name`` is whole, unchanged, and was made from inputs with this ``fingerprint``."""
        known = self._steps.get(name, {})
        return known.get("fingerprint") == fingerprint and known.get("output") == _output(self.folder / name)

    def clear_damaged(self, name: str) -> None:
        """Remove the folder ``name`` if a run made it and the file that marks it as ours is lost."""
        folder = self.folder / name
        if name in self._steps and folder.is_dir() and not is_ours(folder):
            shutil.rmtree(folder)

    def output(self, name: str) -> str:
        """The digest of the folder ``name`` as it was recorded."""
        return self._steps[name]["output"]

    def record(self, name: str, fingerprint: str) -> None:
        """Remember the folder ``name`` as it is now; the file changes whole or not at all."""
        self._steps[name] = {"fingerprint": fingerprint, "output": _output(self.folder / name) or ""}
        partial = self.folder / f".{STATE}"
        partial.write_text(json.dumps({"format_version": 1, "steps": self._steps}, indent=2) + "\n", encoding="utf-8")
        partial.replace(self.folder / STATE)


def _output(folder: Path) -> str | None:
    """The digest of a step's whole folder; None where it is missing, damaged or changed."""
    try:
        return digest_source(str(folder)) if folder.is_dir() else None
    except CompressError:
        return None
