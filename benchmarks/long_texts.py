"""Long documents: the head, both ends or windows of 64 tokens, against 512 tokens: accuracy, and text to answer.

    python -m benchmarks.long_texts [--data demo:bbc-news] [--model demo:minilm] [--seeds 3] [--epochs 3]
        [--short 64] [--long 512] [--seconds 6] [--work runs/long_texts] [--out benchmarks/results/long_texts.json]

Each way is fine-tuned, exported and quantized, with several seeds. Then bench judges all int8 models of a seed side by
side on the test texts, and times those of the first seed on texts of 100 to 5,000 tokens, of the test texts' words.
Run again, it goes on where it stopped. Choose by the validation figures; the test split is read once, by bench.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import compress
from benchmarks.kept import RESULTS, about, markdown, write
from compress.config import DataConfig
from compress.data.read import read_dataset
from compress.machine import usable_cpus
from compress.runtime.encoding import TextEncoder

TOKENS = (100, 500, 1_000, 5_000)
WAYS: Mapping[str, dict[str, Any]] = {
    "head": {},
    "head-tail": {"long_texts": "head-tail"},
    "windows, mean": {"long_texts": "windows", "pooling": "mean"},
    "windows, max": {"long_texts": "windows", "pooling": "max"},
    "windows, first": {"long_texts": "windows", "pooling": "first"},
}
_WHOLE = "one row"
_TIMED_TEXTS = 20


def settle(given: argparse.Namespace) -> None:
    """Keep in the work folder what its models are made with; a folder of other settings is refused."""
    settings = {name: getattr(given, name) for name in ("model", "epochs", "short", "long", "seconds")}
    settings["data_digest"] = read_dataset(DataConfig(data=given.data)).digest
    given.work.mkdir(parents=True, exist_ok=True)
    kept = given.work / "settings.json"
    if kept.is_file() and json.loads(kept.read_text(encoding="utf-8")) != settings:
        raise SystemExit(f"{given.work} was made with other settings; remove it or give another --work")
    kept.write_text(json.dumps(settings), encoding="utf-8")


def make(given: argparse.Namespace, name: str, seed: int) -> Path:
    """The int8 folder of one way and seed."""
    folder: Path = given.work / f"{name.replace(', ', '-').replace(' ', '-')}-{seed}"
    length = given.long if name == _WHOLE else given.short
    teacher, onnx, int8 = folder / "teacher", folder / "onnx", folder / "int8"
    if not teacher.exists():
        settings = WAYS.get(name, {}) | {"max_length": length, "epochs": given.epochs, "seed": seed}
        compress.finetune(given.model, given.data, teacher, **settings)
    if not onnx.exists():
        compress.export(teacher, onnx)
    if not int8.exists():
        compress.quantize(onnx, given.data, int8, max_drop=100)
    return int8


def texts_of(tokens: int, words: Sequence[str], encoder: TextEncoder) -> Iterator[str]:
    """Texts of about so many tokens, from the words of the test texts one after the other."""
    per_word = len(encoder([" ".join(words[:2_000])])[0]) / len(words[:2_000])
    count = round(tokens / per_word)
    for number in range(_TIMED_TEXTS):
        start = number * 997
        yield " ".join(words[(start + at) % len(words)] for at in range(count))


def bench(given: argparse.Namespace, models: Mapping[str, Path], name: str, data: str) -> dict[str, Any]:
    """Bench's entry of each model, by the way that it reads."""
    report = given.work / name
    if not report.exists():
        compress.bench(list(models.values()), data, report, seconds=given.seconds)
    found = json.loads((report / "results.json").read_text(encoding="utf-8"))["models"]
    by_path = {entry["path"]: entry for entry in found}
    return {way: by_path[str(model)] for way, model in models.items()}


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """The document of the results."""
    ways = (*WAYS, _WHOLE)
    rows: dict[str, dict[str, Any]] = {way: {"validation": [], "test": [], "answer_ms": {}} for way in ways}
    for seed in range(given.seeds):
        models = {way: make(given, way, seed) for way in ways}
        for way, entry in bench(given, models, f"report-{seed}", given.data).items():
            trained = entry["history"][0]["metrics"]
            rows[way]["validation"].append(trained[f"validation_{entry['accuracy']['metric']}"])
            rows[way]["test"].append(entry["accuracy"]["value"])
            rows[way]["answer_ms"].setdefault("test texts", entry["answer_p50_ms"])
    models = {way: make(given, way, 0) for way in ways}
    test = read_dataset(DataConfig(data=given.data)).test.texts
    words = [word for text in test for word in str(text).split()]
    encoder = TextEncoder.from_file(models["head"] / "tokenizer.json", 100_000)
    for tokens in TOKENS:
        file = given.work / f"{tokens}.jsonl"
        lines = [json.dumps({"text": text}) + "\n" for text in texts_of(tokens, words, encoder)]
        file.write_text("".join(lines), encoding="utf-8")
        for way, entry in bench(given, models, f"report-{tokens}-tokens", str(file)).items():
            rows[way]["answer_ms"][str(tokens)] = entry["answer_p50_ms"]
    asked = {name: getattr(given, name) for name in ("data", "short", "long", "seeds", "epochs")}
    return about([usable_cpus()]) | asked | {"rows": rows}


def table(document: Mapping[str, Any]) -> str:
    """Accuracy, a mean over the seeds, and the times of the first seed's models as multiples of the head's."""
    rows: Mapping[str, Any] = document["rows"]
    head = rows["head"]["answer_ms"]
    lines = [["read", "tokens in a row", "validation", "test", *(_shown(name) for name in head)]]
    for way, row in rows.items():
        times = [f"{row['answer_ms'][name] / ms:.2f}x" for name, ms in head.items()]
        figures = [f"{100 * fmean(row[split]):.1f}" for split in ("validation", "test")]
        lines.append([way, str(document["long" if way == _WHOLE else "short"]), *figures, *times])
    return markdown(lines)


def _shown(name: str) -> str:
    return f"time, {name}" if name == "test texts" else f"{int(name):,} tokens"


def main() -> None:
    """Measure, keep the results and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.long_texts", description="ways to read long documents")
    parser.add_argument("--data", default="demo:bbc-news")
    parser.add_argument("--model", default="demo:minilm")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--short", type=int, default=64)
    parser.add_argument("--long", type=int, default=512)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--work", type=Path, default=Path("runs/long_texts"))
    parser.add_argument("--out", type=Path, default=RESULTS / "long_texts.json")
    given = parser.parse_args()
    settle(given)
    document = measure(given)
    write(given.out, document)
    print(table(document), end="")


if __name__ == "__main__":
    main()
