"""The model card of an exported folder: what it is, how it was made and measured, its limits, how to load it."""

import json
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from compress.evaluation.metrics import wilson_interval
from compress.folder import Manifest
from compress.manifest_entries import NEVER
from compress.runtime.graph_file import GRAPHS, INPUTS
from compress.task import is_multi_label, reads_pairs

_TEMPLATE = """---
{metadata}
---

# {name}

A text classifier in ONNX, made by `compress`. Task: {task}, {label_count} labels, {parameters:,} parameters
before quantization. Reads {reads} and cuts at {max_length} tokens.

Labels: {labels}

## How it was made

| step | data | result |
|---|---|---|
{steps}

{measured}Validation figures chose between checkpoints; they are not a test result. `compress bench` measures one.

## Limits

{limits}

## How to load it

{loading}
"""
_ONNX = """Python, without PyTorch (`pip install compress-bert`):

```python
import compress

clf = compress.load("{name}")
clf({example})
```

JavaScript, in Node or a browser (`npm i @huggingface/transformers`):

```js
import {{ pipeline }} from '@huggingface/transformers';
const classify = await pipeline('text-classification', '{name}', {{ dtype: '{dtype}' }});
```

`optimum` (`pip install optimum-onnx[onnxruntime]`):

```python
from optimum.onnxruntime import ORTModelForSequenceClassification

model = ORTModelForSequenceClassification.from_pretrained("{name}", subfolder="onnx", file_name="{graph}")
```

Any other ONNX runtime: the graph is `onnx/{graph}`; inputs {inputs} (int64,
`[batch, sequence]`), output `logits` (float32, `[batch, {label_count}]`), whose {activation} gives the scores; the
tokenizer is in `tokenizer.json`; `vocab.txt`, where there is one, is for clients that want that."""
_SINGLE_FILE = """One file, `model.onnx`, reads texts and answers with labels, in any app that has onnxruntime and
the operators of onnxruntime-extensions (packages for Python, C#, Java, Android and iOS). In Python
(`pip install onnxruntime onnxruntime-extensions`):

```python
import numpy as np
import onnxruntime as ort
from onnxruntime_extensions import get_library_path

options = ort.SessionOptions()
options.register_custom_ops_library(get_library_path())
session = ort.InferenceSession("{name}/model.onnx", options)
label, score, scores = session.run(None, {single_file_example})
```

Inputs: {single_file_inputs}, strings `[batch]`. Outputs: `label` and `score`, the likeliest, `[batch]`; `scores`,
`[batch, {label_count}]`, in the order of the labels above, which the file's metadata has too (`labels`).

The answers are those of the ONNX folder that it was made from, except for texts with a NUL character (the text ends
there) or `[SEP]`, `<mask>` and the like, which may be read otherwise; and, with a WordPiece tokenizer, with a word of
which the vocabulary holds only the beginning (`good♥`: read as `good` and an unknown token here, as one unknown token
by the folder) or of 101 to 200 characters. Texts of megabytes take seconds: cut them first."""
_TEI = """Hugging Face text-embeddings-inference, in its images for CPUs:

```sh
docker run -p 8080:80 -v $PWD/{name}:/model ghcr.io/huggingface/text-embeddings-inference:cpu-1.9 --model-id /model
curl localhost:8080/predict -H 'Content-Type: application/json' -d '{{"inputs": {tei_example}{tei_options}}}'
```

{tei_note}"""
_TRITON = """NVIDIA Triton: this folder is a model repository with one model, `classifier`.

```sh
tritonserver --model-repository={name}
```

It takes token ids ({inputs}, int64, `[batch, sequence]`), which a client makes
with `classifier/tokenizer.json`, {cut} {max_length} tokens; the {activation} of its `logits` gives the scores. A
request for the output with `"parameters": {{"classification": 1}}` is answered with labels."""
_TEI_MULTI_LABEL = """It has no multi-label tasks: request `raw_scores`, as above, and take the sigmoid of each."""
_HONOURED = "`compress.load` does so by itself; other clients find this in `config.json` (`decision`)."
_LOADINGS = {"onnx": _ONNX, "single_file": _SINGLE_FILE, "tei": _TEI, "triton": _TRITON}
_HUB_IDS = {"demo:minilm": "sentence-transformers/all-MiniLM-L6-v2"}
_FILES = {precision: Path(name).name for name, precision in GRAPHS.items()}


def model_card(
    name: str,
    manifest: Manifest,
    inputs: Sequence[str] = INPUTS,
    model_type: str | None = None,
    truncation_side: str = "right",
) -> str:
    """Markdown with Hub metadata, for the folder ``name``; ``model_type`` is that of its config, where it has one."""
    precision = _precision(manifest)
    dtype = "q8" if precision == "int8" else precision  # as transformers.js names it
    return _TEMPLATE.format(
        metadata="\n".join(_metadata(name, manifest, precision, model_type)),
        name=name,
        task=manifest.task.replace("_", " "),
        label_count=len(manifest.labels),
        labels=", ".join(f"`{label}`" for label in manifest.labels),
        parameters=manifest.parameters,
        reads="pairs of texts" if reads_pairs(manifest.task) else "texts",
        max_length=manifest.max_length,
        steps="\n".join(_row(entry) for entry in manifest.history),
        measured=_measured(manifest),
        limits="\n".join(f"- {limit}" for limit in _limits(manifest, precision, truncation_side)),
        loading=_how_to_load(name, manifest, inputs, _FILES[precision], dtype, truncation_side),
    )


def _quantized(manifest: Manifest) -> dict[str, Any] | None:
    """The history's entry of quantize, where the model is quantized."""
    return next((entry for entry in reversed(manifest.history) if entry["step"] == "quantize"), None)


def _precision(manifest: Manifest) -> str:
    """Of the graph: int8 after quantize, fp16 where the export says so, else fp32."""
    if _quantized(manifest):
        return "int8"
    last: dict[str, Any] = next((entry for entry in reversed(manifest.history) if entry["step"] != "calibrate"), {})
    return str(last.get("config", {}).get("precision", "fp32")) if last.get("step") == "export" else "fp32"


def _metadata(name: str, manifest: Manifest, precision: str, model_type: str | None) -> Iterator[str]:
    """YAML for the Hub; strings are written as JSON, which YAML reads."""
    int8 = precision == "int8"
    yield "pipeline_tag: text-classification"
    yield f"library_name: {'transformers.js' if manifest.kind == 'onnx' else 'onnx'}"
    base = _base_model(manifest)
    if base is not None:
        yield f"base_model: {json.dumps(base)}"
        yield f"base_model_relation: {'quantized' if int8 else 'finetune'}"
    yield "tags:"
    yield from (f"- {tag}" for tag in ("onnx", model_type, "compress", precision) if tag not in (None, "fp32"))
    quantized = _quantized(manifest)
    data = _data_name(quantized) if quantized else None
    if quantized and data is not None:
        metrics = quantized["metrics"]
        kind, value = "f1" if metrics["metric"] == "macro_f1" else metrics["metric"], metrics["quantized"]
        yield "model-index:"
        yield f"- name: {json.dumps(name)}"
        yield "  results:"
        yield "  - task:\n      type: text-classification"
        yield f"    dataset:\n      type: {json.dumps(data)}\n      name: {json.dumps(data)}\n      split: validation"
        yield f"    metrics:\n    - type: {kind}\n      name: {metrics['metric']}\n      value: {value:.4f}"


def _base_model(manifest: Manifest) -> str | None:
    """The hub id that the first step started from; None for a local folder, which nobody else has."""
    source = str(manifest.history[0]["parent"]["source"]) if manifest.history else ""
    if source in _HUB_IDS:
        return _HUB_IDS[source]
    return source if re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", source) and not Path(source).exists() else None


def _data_name(entry: dict[str, Any]) -> str | None:
    """The name of a step's data: a hub id, or the last part of a path."""
    source = entry.get("data", {}).get("data")
    if source is None:
        return None
    return str(source) if source.count("/") == 1 and not Path(source).exists() else Path(source).name


def _measured(manifest: Manifest) -> str:
    """The quantized model's metric beside its parent's; nothing where the model is not quantized."""
    quantized = _quantized(manifest)
    if quantized is None:
        return ""
    found = quantized["metrics"]
    shown = f"On {found['texts']:,} validation texts this model's {found['metric'].replace('_', '-')} is "
    shown += f"{100 * found['quantized']:.1f}%"
    if found["metric"] == "accuracy":
        low, high = wilson_interval(found["quantized"], found["texts"])
        shown += f" (95% interval {100 * low:.1f} to {100 * high:.1f}%)"
    shown += f", that of the fp32 model {100 * found['parent']:.1f}%; both give the same answer to "
    return f"{shown}{100 * found['agreement']:.1f}% of them.\n\n"


def _limits(manifest: Manifest, precision: str, truncation_side: str) -> Iterator[str]:
    if truncation_side == "left":
        yield (
            f"Of a longer text it reads the last {manifest.max_length} tokens. A client that can only keep the first "
            "ones gets other answers."
        )
    else:
        yield f"Of a longer text it reads the first {manifest.max_length} tokens."
    yield "It knows only the labels above" + (
        "." if is_multi_label(manifest.task) else ": a text that fits none of them gets one nevertheless."
    )
    yield from _decided(manifest)
    if precision == "fp16":
        yield "fp16 is for GPUs; onnxruntime on a CPU computes it in fp32, slower than the fp32 graph."
    temperature = _temperature(manifest)
    if temperature is None and precision != "int8":  # earlier versions fitted none in int8, and said nothing of it
        yield "Its scores are not calibrated: they may be far from the share of texts that it gets right."
    if temperature is not None:
        yield f"Its logits are divided by {temperature:.3g}: scores are calibrated for texts like the validation ones."
    if precision != "int8":
        return
    yield "int8 is for CPUs; on one without int8 dot products (VNNI) it is smaller but hardly faster."
    quantized = _quantized(manifest) or {}
    if _activations(quantized) == "static":
        yield (
            "Its activations are static: their ranges come from the data it was quantized with, and values far outside "
            "are clipped. A text's scores do not depend on the texts in its batch."
        )
    else:
        yield (
            "Its activations are dynamic: a text's scores shift a little with the texts in its batch; alone (as in "
            "`compress.load`) they do not."
        )


def _temperature(manifest: Manifest) -> float | None:
    """By which the graph's logits are divided: the product of what quantize and calibrate fitted; None for neither."""
    fitted = [
        float(entry["metrics"]["temperature"])
        for entry in manifest.history
        if entry["step"] in ("quantize", "calibrate") and "temperature" in entry["metrics"]
    ]
    return math.prod(fitted) if fitted else None


def _decided(manifest: Manifest) -> Iterator[str]:
    """What calibrate chose, and for which texts it holds."""
    found = manifest.decision or {}
    if "thresholds" in found:
        shown = ", ".join(f"`{label}` {least:.3g}" for label, least in found["thresholds"].items() if least != NEVER)
        never = ", ".join(f"`{label}`" for label, least in found["thresholds"].items() if least == NEVER)
        yield (
            f"A label applies from its own score on, chosen on {found['texts']:,} validation texts by "
            f"{found['chosen_by']}: {shown}{'; never given: ' + never if never else ''}. {_HONOURED}"
        )
    if "abstain_below" in found:
        yield (
            f"It abstains where the highest score is below {found['abstain_below']:.4g}. With "
            f"{100 * found['confidence']:g}% confidence at most {100 * found['max_error']:g}% of what it answers is "
            f"wrong, for texts like the {found['texts']:,} validation texts that this was tested on: it answered "
            f"{100 * found['coverage']:.1f}% of them, and {100 * found['error']:.1f}% of these wrongly. {_HONOURED}"
        )


def _activations(quantized: dict[str, Any]) -> str:
    """``static`` or ``dynamic``; folders of earlier versions say only how static ranges were chosen."""
    earlier = "static" if quantized.get("config", {}).get("calibrate") else "dynamic"
    return str(quantized.get("metrics", {}).get("activations", earlier))


def _row(entry: dict[str, Any]) -> str:
    shown = ", ".join(
        f"{name.replace('_', ' ')} {value:.4g}"
        for name, value in entry["metrics"].items()
        if isinstance(value, int | float)
    )
    return f"| {entry['step']} | {_data_name(entry) or ''} | {shown} |"


def _how_to_load(
    name: str, manifest: Manifest, inputs: Sequence[str], graph: str, dtype: str, truncation_side: str
) -> str:
    """Markdown: the code that loads the folder in each runtime; ``dtype`` is its precision in transformers.js."""
    pairs, multi_label = reads_pairs(manifest.task), is_multi_label(manifest.task)
    words = {"text": ["a text to classify"]} | ({"text_pair": ["another text"]} if pairs else {})
    left = truncation_side == "left"
    tei_options = ', "truncate": true, "truncation_direction": "Left"' if left else ""
    return _LOADINGS[manifest.kind].format(
        name=name,
        label_count=len(manifest.labels),
        max_length=manifest.max_length,
        example='[("a text", "another text")]' if pairs else '["a text to classify"]',
        inputs=", ".join(f"`{input_}`" for input_ in inputs),
        graph=graph,
        dtype=dtype,
        activation="sigmoid" if multi_label else "softmax",
        single_file_inputs=" and ".join(f"`{text}`" for text in words),
        single_file_example="{"
        + ", ".join(f'"{key}": np.array({json.dumps(text)})' for key, text in words.items())
        + "}",
        tei_example='["a text", "another text"]' if pairs else '"a text to classify"',
        tei_options=tei_options + (', "raw_scores": true' if multi_label else ""),
        cut="of a longer text the last" if left else "cut at",
        tei_note=_TEI_MULTI_LABEL if multi_label else "",
    )
