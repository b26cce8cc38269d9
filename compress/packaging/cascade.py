"""The folder of a cascade: two complete ONNX folders of ours inside it, and a card and a manifest for both."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from compress.folder import MANIFEST, Manifest
from compress.task import reads_pairs
from compress.templates import fill


def copy_part(folder: Path, manifest: Manifest, into: Path) -> None:
    """Copy the files of an ONNX folder that its manifest lists, and the manifest."""
    for name in (*manifest.names, MANIFEST):
        (into / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / name, into / name)


def joined(small: Manifest, large: Manifest, decision: Mapping[str, Any]) -> Manifest:
    """The manifest of a cascade; the order of labels and the history are those of the large model."""
    return replace(
        large,
        max_length=max(small.max_length, large.max_length),
        parameters=small.parameters + large.parameters,
        decision=dict(decision),
        long_texts=None,  # each of the two has its own
        files=(),
    )


def cascade_card(name: str, manifest: Manifest) -> str:
    """The card of the folder ``name``: Markdown with Hub metadata."""
    return fill(
        "compress.packaging",
        "cascade.md.j2",
        name=name,
        manifest=manifest,
        cascade=cascade_entry(manifest),
        pairs=reads_pairs(manifest.task),
    )


def cascade_entry(manifest: Manifest) -> dict[str, Any] | None:
    """The history's entry of the step cascade, also of a single file with both models; None for all other models."""
    return next((entry for entry in manifest.history if entry["step"] == "cascade"), None)
