"""The part of a model card that says how to load it, by the kind of folder."""

import json
from collections.abc import Sequence

from compress.folder import Manifest
from compress.task import is_multi_label, reads_pairs

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
tokenizer is in `tokenizer.json` and, for clients that want it, `vocab.txt`."""
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

The answers are those of the ONNX folder that it was made from, except for texts with a word of which the vocabulary
holds only the beginning (`good♥`: read as `good` and an unknown token here, as one unknown token by the folder), a word
of 101 to 200 characters, a NUL character (the text ends there), or `[SEP]` and the like (plain words here). Texts of
megabytes take seconds: cut them first."""
_TEI = """Hugging Face text-embeddings-inference, in its images for CPUs:

```sh
docker run -p 8080:80 -v $PWD/{name}:/model ghcr.io/huggingface/text-embeddings-inference:cpu-1.9 --model-id /model
curl localhost:8080/predict -H 'Content-Type: application/json' -d '{{"inputs": {tei_example}{tei_raw}}}'
```

{tei_note}"""
_TRITON = """NVIDIA Triton: this folder is a model repository with one model, `classifier`.

```sh
tritonserver --model-repository={name}
```

It takes token ids ({inputs}, int64, `[batch, sequence]`), which a client makes
with `classifier/tokenizer.json`, cut at {max_length} tokens; the {activation} of its `logits` gives the scores. A
request for the output with `"parameters": {{"classification": 1}}` is answered with labels."""
_TEI_MULTI_LABEL = """It has no multi-label tasks: request `raw_scores`, as above, and take the sigmoid of each."""
_LOADINGS = {
    "onnx": _ONNX,
    "single_file": _SINGLE_FILE,
    "tei": _TEI,
    "triton": _TRITON,
}


def how_to_load(name: str, manifest: Manifest, inputs: Sequence[str], graph: str, dtype: str) -> str:
    """Markdown: the code that loads the folder in each runtime.

    Args:
        name: the folder's name.
        manifest: the folder's.
        inputs: of its graph.
        graph: the name of its ONNX file.
        dtype: the name of that file's precision in transformers.js.
    """
    pairs, multi_label = reads_pairs(manifest.task), is_multi_label(manifest.task)
    words = {"text": ["a text to classify"]} | ({"text_pair": ["another text"]} if pairs else {})
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
        tei_raw=', "raw_scores": true' if multi_label else "",
        tei_note=_TEI_MULTI_LABEL if multi_label else "",
    )
