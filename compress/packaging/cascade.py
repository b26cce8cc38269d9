"""The folder of a cascade: two whole ONNX folders of ours inside it, and a card and a manifest that join them."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from compress.folder import MANIFEST, Manifest
from compress.task import reads_pairs

_CARD = """---
pipeline_tag: text-classification
library_name: onnx
tags:
- onnx
- compress
- cascade
---

# {name}

Two text classifiers in ONNX, joined by `compress` into a cascade: the one in `small/` answers where it is sure, and the
one in `large/` answers the other texts. Task: {task}, {label_count} labels, {parameters:,} parameters together.

Labels: {labels}

## How it decides

A text is handed on where the highest score of the small model is below {hand_on_below:.6g}. With {confidence:g}%
confidence its accuracy is at most {max_drop:g} points below that of the large model alone, for texts like the
{texts:,} validation texts that this was tested on: there {handed_on:.1f}% were handed on, and the loss was
{drop:.2f} points.

An answer took {answer_ms:.2f} ms on average where it was made, with the large model alone {large_answer_ms:.2f} ms and
with the small one {small_answer_ms:.2f} ms. A text that is handed on takes as long as both: where the longest time
counts and not the mean, use one model. `compress bench` measures all three.

## What each of the two is

`small/README.md` and `large/README.md` say how each was made, what it reads, and its limits.

## How to load it

Python, without PyTorch (`pip install compress-bert`):

```python
import compress

clf = compress.load("{name}")
clf({example})
```

Other clients load one of the two, `small` or `large`, which are whole folders; their cards say how.
"""


def copy_part(folder: Path, manifest: Manifest, into: Path) -> None:
    """Copy a whole ONNX folder, without what its manifest does not list."""
    for name in (*manifest.names, MANIFEST):
        (into / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / name, into / name)


def joined(small: Manifest, large: Manifest, decision: Mapping[str, Any]) -> Manifest:
    """The manifest of the two together: the labels' order, and the history, are those of the large one."""
    return replace(
        large,
        max_length=max(small.max_length, large.max_length),
        parameters=small.parameters + large.parameters,
        decision=dict(decision),
        long_texts=None,  # each of the two has its own
        files=(),
    )


def cascade_card(name: str, manifest: Manifest) -> str:
    """Markdown with Hub metadata, for the folder ``name``, whose history ends with the step cascade."""
    decision, metrics = manifest.decision or {}, manifest.history[-1]["metrics"]
    return _CARD.format(
        name=name,
        task=manifest.task.replace("_", " "),
        label_count=len(manifest.labels),
        parameters=manifest.parameters,
        labels=", ".join(f"`{label}`" for label in manifest.labels),
        texts=decision["texts"],
        hand_on_below=decision["hand_on_below"],
        **{share: 100 * decision[share] for share in ("confidence", "max_drop", "handed_on", "drop")},
        **{time: metrics[time] for time in ("answer_ms", "large_answer_ms", "small_answer_ms")},
        example='[("a text", "another text")]' if reads_pairs(manifest.task) else '["a text to classify"]',
    )
