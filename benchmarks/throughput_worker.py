# One contender of throughput_peers.py: NAME FOLDER THREADS, texts as JSON on the first line of stdin. Says "ready" once
# it is warm; to each further line it answers all texts and prints their labels as JSON. (The optimum environment has no
# compress, so this file imports it only where it is timed.)
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

GRAPH = "onnx/model_quantized.onnx"
WARM_UP = 200
Classify = Callable[[list[str]], Sequence[object]]


def compress_load(folder: str, threads: int, **settings: int) -> Classify:
    """Ours."""
    import compress

    classifier = compress.load(folder, threads=threads, **settings)
    return lambda texts: [found.label for found in classifier(texts)]


def tokenizer_alone(folder: str, max_length: int) -> Classify:
    """The share of ours that is not the model's."""
    from compress.runtime.encoding import TextEncoder

    encoder = TextEncoder.from_file(Path(folder) / "tokenizer.json", max_length)
    return lambda texts: [
        len(found) for start in range(0, len(texts), 1024) for found in encoder(texts[start : start + 1024])
    ]


def plain_loop(folder: str, threads: int, max_length: int, batch: int) -> Classify:
    """Tokenizer and onnxruntime by hand: batches as they come, each padded to its longest text."""
    import numpy as np
    import onnxruntime as ort
    from tokenizers import Tokenizer

    labels = _labels(folder)
    tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
    tokenizer.enable_truncation(max_length)
    tokenizer.enable_padding()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(f"{folder}/{GRAPH}", options, providers=["CPUExecutionProvider"])

    def classify(texts: list[str]) -> list[str]:
        found: list[str] = []
        for start in range(0, len(texts), batch):
            rows = tokenizer.encode_batch(texts[start : start + batch])
            inputs = {
                "input_ids": np.array([row.ids for row in rows]),
                "attention_mask": np.array([row.attention_mask for row in rows]),
                "token_type_ids": np.array([row.type_ids for row in rows]),
            }
            logits = session.run(["logits"], inputs)[0]
            found += [labels[index] for index in logits.argmax(axis=-1).tolist()]
        return found

    return classify


def optimum_pipeline(folder: str, threads: int, batch: int) -> Classify:
    """ORTModel in a transformers pipeline, as its documentation shows it."""
    import onnxruntime as ort
    import torch
    from optimum.onnxruntime import ORTModelForSequenceClassification
    from transformers import AutoTokenizer, pipeline

    torch.set_num_threads(threads)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    model = ORTModelForSequenceClassification.from_pretrained(
        folder, subfolder="onnx", file_name=Path(GRAPH).name, session_options=options
    )
    classify: Any = pipeline("text-classification", model, tokenizer=AutoTokenizer.from_pretrained(folder))
    return lambda texts: [found["label"] for found in classify(texts, batch_size=batch, truncation=True)]


def _labels(folder: str) -> list[str]:
    named = json.loads(Path(folder, "config.json").read_text(encoding="utf-8"))["id2label"]
    return [named[str(index)] for index in range(len(named))]


def main() -> None:
    """Ready, then answers."""
    name, folder, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    max_length = json.loads(Path(folder, "compress.json").read_text(encoding="utf-8"))["max_length"]
    makers: dict[str, Callable[[], Classify]] = {
        "compress.load": lambda: compress_load(folder, threads),
        "compress.load, instances": lambda: compress_load(folder, threads, instances=threads),
        "compress.load, instances, batches": lambda: compress_load(
            folder, threads, instances=threads, batch_tokens=1024
        ),
        "our tokenizer alone": lambda: tokenizer_alone(folder, max_length),
        "plain onnxruntime, batch 1": lambda: plain_loop(folder, threads, max_length, 1),
        "plain onnxruntime, batch 32": lambda: plain_loop(folder, threads, max_length, 32),
        "optimum, batch 1": lambda: optimum_pipeline(folder, threads, 1),
        "optimum, batch 32": lambda: optimum_pipeline(folder, threads, 32),
    }
    classify = makers[name]()
    texts = json.loads(sys.stdin.readline())
    classify(texts[:WARM_UP])
    print("ready", flush=True)
    for _ in sys.stdin:
        print(json.dumps(classify(texts)), flush=True)


if __name__ == "__main__":
    main()
