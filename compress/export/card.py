"""The model card of an exported folder: what it is, how it was made, how to load it."""

from typing import Any

from compress.folder import Manifest

_TEMPLATE = """---
pipeline_tag: text-classification
library_name: onnx
tags:
- onnx
- bert
- compress
---

# {name}

A BERT text classifier in ONNX, made by `compress`. Task: {task}, {label_count} labels, {parameters:,} parameters
before quantization. Texts are cut at {max_length} tokens.

Labels: {labels}

## How it was made

| step | result |
|---|---|
{steps}

Validation figures chose between checkpoints; they are not a test result. `compress bench` measures one.

## How to load it

```python
import compress

clf = compress.load("{name}")
clf([{example}])
```

Any other ONNX runtime: inputs `input_ids`, `attention_mask`, `token_type_ids` (int64, `[batch, sequence]`), output
`logits` (float32, `[batch, {label_count}]`); the tokenizer is in `tokenizer.json`. transformers.js and optimum load the
folder as it is.
"""


def model_card(name: str, manifest: Manifest) -> str:
    """Markdown with Hub metadata."""
    pair = manifest.task.startswith("pair_")
    return _TEMPLATE.format(
        name=name,
        task=manifest.task.replace("_", " "),
        label_count=len(manifest.labels),
        labels=", ".join(f"`{label}`" for label in manifest.labels),
        parameters=manifest.parameters,
        max_length=manifest.max_length,
        steps="\n".join(_row(entry) for entry in manifest.history),
        example='("a text", "another text")' if pair else '"a text to classify"',
    )


def _row(entry: dict[str, Any]) -> str:
    shown = ", ".join(
        f"{name.replace('_', ' ')} {value:.4g}"
        for name, value in entry["metrics"].items()
        if isinstance(value, int | float)
    )
    return f"| {entry['step']} | {shown} |"
