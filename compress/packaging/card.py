"""The model card of an exported folder: what it is, how it was made and measured, its limits, how to load it.

The text is in ``card.md.j2``; this module takes the facts for it from the manifest.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from compress.evaluation.metrics import wilson_interval
from compress.folder import Manifest
from compress.manifest_entries import NEVER
from compress.packaging.cascade import cascade_entry
from compress.paths import may_be_hub_id
from compress.runtime.graph_file import GRAPHS, INPUTS
from compress.runtime.long_texts import LongTexts
from compress.task import is_multi_label, reads_pairs
from compress.templates import fill

_HUB_IDS = {"demo:minilm": "sentence-transformers/all-MiniLM-L6-v2"}
_FILES = {precision: Path(name).name for name, precision in GRAPHS.items()}

Entry = dict[str, Any]


def model_card(
    name: str,
    manifest: Manifest,
    inputs: Sequence[str] = INPUTS,
    model_type: str | None = None,
    truncation_side: str = "right",
) -> str:
    """The card of the folder ``name``: Markdown with Hub metadata; ``model_type`` is from its config, if it has one."""
    cascade = cascade_entry(manifest)
    # A cascade's history is that of its large model, and does not hold for both.
    own = replace(manifest, history=()) if cascade else manifest
    quantized = next((entry for entry in reversed(own.history) if entry["step"] == "quantize"), None)
    precision = "int8" if quantized else _exported_precision(own)
    multi_label = is_multi_label(manifest.task)
    thresholds: dict[str, float] = (manifest.decision or {}).get("thresholds", {})
    return fill(
        "compress.packaging",
        "card.md.j2",
        name=name,
        manifest=manifest,
        inputs=inputs,
        model_type=model_type,
        base_model=_base_model(own),
        cascade=cascade,
        quantized=quantized,
        precision=precision,
        int8=precision == "int8",
        static=quantized is not None and _activations(quantized) == "static",
        graph=_FILES[precision],
        temperature=temperature_of(own),
        thresholds=", ".join(f"`{label}` {least:.3g}" for label, least in thresholds.items() if least != NEVER),
        never_given=[label for label, least in thresholds.items() if least == NEVER],
        pairs=reads_pairs(manifest.task),
        multi_label=multi_label,
        activation="sigmoid" if multi_label else "softmax",
        long_texts=LongTexts.of(manifest),
        cuts_start=truncation_side == "left",
        data_name=_data_name,
        quoted=json.dumps,  # YAML reads a string as JSON writes it
        wilson_interval=wilson_interval,
    )


def _exported_precision(manifest: Manifest) -> str:
    """The precision of the graph: fp16 where the export says so, else fp32."""
    last: Entry = next((entry for entry in reversed(manifest.history) if entry["step"] != "calibrate"), {})
    return str(last.get("config", {}).get("precision", "fp32")) if last.get("step") == "export" else "fp32"


def _base_model(manifest: Manifest) -> str | None:
    """The hub id that the first step started from; None for a local folder, which nobody else has."""
    source = str(manifest.history[0]["parent"]["source"]) if manifest.history else ""
    if source in _HUB_IDS:
        return _HUB_IDS[source]
    return source if "/" in source and may_be_hub_id(source) else None


def _data_name(entry: Entry) -> str | None:
    """The name of a step's data: a hub id, or the last part of a path."""
    source = entry.get("data", {}).get("data")
    if source is None:
        return None
    return str(source) if "/" in source and may_be_hub_id(source) else Path(source).name


def temperature_of(manifest: Manifest) -> float | None:
    """The temperature by which the graph's logits are divided, or None: the product of those that steps fitted.

    These steps are quantize, which fitted none in earlier versions, and calibrate.
    """
    fitted = [
        float(entry["metrics"]["temperature"])
        for entry in manifest.history
        if entry["step"] in ("quantize", "calibrate") and "temperature" in entry["metrics"]
    ]
    return math.prod(fitted) if fitted else None


def _activations(quantized: Entry) -> str:
    """``static`` or ``dynamic``; the history of earlier versions says only how static ranges were chosen."""
    earlier = "static" if quantized.get("config", {}).get("calibrate") else "dynamic"
    return str(quantized.get("metrics", {}).get("activations", earlier))
