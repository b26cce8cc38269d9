"""What several peers need. Heavy libraries are imported where they are used: no environment has all of them.

All peers read a text with the tokenizers library itself, which is quicker than the tokenizers of transformers that
their guides show, so that what differs is the model and what runs it.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Answer = Callable[[str], str]
CALIBRATION_TEXTS = 300  # NNCF's default, and more than the guides of others take


def examples(data: Path, split: str) -> tuple[list[str], list[str]]:
    """Texts and labels of ``train``, ``validation`` or ``test``."""
    rows = [json.loads(line) for line in (data / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()]
    return [row["text"] for row in rows], [row["label"] for row in rows]


def keep_tokenizer(teacher: Path, out: Path) -> None:
    """What answering needs beside the weights: the tokenizer, the names of the labels and the longest text."""
    shutil.copy(teacher / "tokenizer.json", out)
    manifest = json.loads((teacher / "compress.json").read_text(encoding="utf-8"))
    kept = {"labels": manifest["labels"], "max_length": manifest["max_length"]}
    (out / "labels.json").write_text(json.dumps(kept), encoding="utf-8")


def labels_of(folder: Path) -> list[str]:
    """In the order of the logits."""
    return list(json.loads((folder / "labels.json").read_text(encoding="utf-8"))["labels"])


def encoder(folder: Path) -> Callable[[str], dict[str, list[list[int]]]]:
    """From a text to the model's inputs, each ``[1, tokens]``, cut at the teacher's longest text."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(json.loads((folder / "labels.json").read_text(encoding="utf-8"))["max_length"])
    tokenizer.no_padding()

    def encode(text: str) -> dict[str, list[list[int]]]:
        found = tokenizer.encode(text)
        return {
            "input_ids": [found.ids],
            "attention_mask": [found.attention_mask],
            "token_type_ids": [found.type_ids],
        }

    return encode


def calibration(teacher: Path, data: Path, out: Path) -> Iterator[dict[str, Any]]:
    """The first train texts as NumPy inputs, one at a time."""
    import numpy as np

    keep_tokenizer(teacher, out)
    encode = encoder(out)
    for text in examples(data, "train")[0][:CALIBRATION_TEXTS]:
        yield {name: np.array(rows, dtype=np.int64) for name, rows in encode(text).items()}


def teacher_model(teacher: Path, attention: str) -> Any:
    """The teacher in PyTorch, ready to answer."""
    from transformers import AutoModelForSequenceClassification

    return AutoModelForSequenceClassification.from_pretrained(teacher, attn_implementation=attention).eval()


def torch_answers(model: Any, folder: Path, threads: int) -> Answer:
    """A PyTorch model's label for a text."""
    import torch

    torch.set_num_threads(threads)
    labels, encode = labels_of(folder), encoder(folder)

    def answer(text: str) -> str:
        with torch.inference_mode():
            logits = model(**{name: torch.tensor(rows) for name, rows in encode(text).items()}).logits
        return labels[int(logits[0].argmax())]

    return answer


def export(teacher: Path, path: Path) -> None:
    """The stock export to ONNX, with dynamic batch and length.

    With eager attention and by the older exporter: the optimizers fuse no other attention, and ``quantize_dynamic``
    fails on what the newer exporter writes.
    """
    import torch

    ids = torch.randint(1000, 2000, (2, 16))
    axes = {name: {0: "batch", 1: "tokens"} for name in ("input_ids", "attention_mask", "token_type_ids")}
    torch.onnx.export(
        teacher_model(teacher, "eager"),
        (ids, torch.ones_like(ids), torch.zeros_like(ids)),
        path,
        input_names=list(axes),
        output_names=["logits"],
        dynamic_axes=axes,
        opset_version=17,
        dynamo=False,
    )


def onnx_answers(path: Path, folder: Path, threads: int) -> Answer:
    """A label for a text from an ONNX file in ONNX Runtime."""
    import numpy as np
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    types = {one.name: np.int32 if "int32" in one.type else np.int64 for one in session.get_inputs()}
    labels, encode = labels_of(folder), encoder(folder)

    def answer(text: str) -> str:
        inputs = encode(text)
        feed = {name: np.array(inputs[name], dtype=dtype) for name, dtype in types.items()}
        return labels[int(session.run(None, feed)[0][0].argmax())]

    return answer


def has_vnni() -> bool:
    """Whether this CPU multiplies int8 without saturating; ONNX Runtime's guide wants 7-bit weights where not."""
    return "vnni" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
