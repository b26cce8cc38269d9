"""Is a step's folder still what the recipe would make? By fingerprints of what went in and digests of what came out."""

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
    """What a source holds, where that can be known: a model's or file's content, else its name."""
    path = local_path(source)
    if (path / MANIFEST).is_file():
        return read_manifest(path).digest  # of the files: the manifest itself tells times, which differ every time
    return digest_tree(path) if path.exists() else source


class RunState:
    """What ``run.json`` remembers: for each step the fingerprint of what went in and the digest of what came out."""

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
        """Whether the folder ``name`` is whole, unchanged, and was made from what ``fingerprint`` stands for."""
        known = self._steps.get(name, {})
        return known.get("fingerprint") == fingerprint and known.get("output") == _output(self.folder / name)

    def clear_damaged(self, name: str) -> None:
        """Remove the folder ``name`` where it was recorded here and has lost what marks it as ours."""
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
    if not folder.is_dir():
        return None
    if not (folder / MANIFEST).is_file():
        return digest_tree(folder)
    try:
        return read_manifest(folder).digest
    except CompressError:
        return None
