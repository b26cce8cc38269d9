"""One contender of textbrewer_speed.py in a process of its own, asked in JSON lines over stdin.

A request is one distillation from start to end: ``{"data": folder, "epochs": 3, "scratch": folder, "cache": folder}``.
It gets two lines on stdout: ``{}`` once the student is saved, which stops the parent's clock, then the student's
accuracy on the validation texts. TextBrewer's environment has no compress, so this imports it only where it is timed.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

LEARNING_RATE = 1e-4
_WARMUP = 0.1
_NEVER = 10**9

Request = dict[str, Any]


def with_compress(job: dict[str, Any], request: Request) -> Callable[[], float]:
    """``compress.distill`` as users call it; validates once, at the end."""
    import compress

    result = compress.distill(
        job["teacher"],
        request["data"],
        Path(request["scratch"]) / "student",
        overwrite=True,
        layers=job["layers"],
        epochs=request["epochs"],
        batch_size=job["batch_size"],
        learning_rate=LEARNING_RATE,
        eval_steps=_NEVER,
        teacher_cache=request["cache"],
        threads=job["threads"],
        **job["settings"],
    )
    accuracy = float(result.metrics["validation_accuracy"])
    return lambda: accuracy


def with_textbrewer(job: dict[str, Any], request: Request) -> Callable[[], float]:
    """TextBrewer as its documentation shows: an adaptor, random batches padded to their longest text, AdamW."""
    import textbrewer  # type: ignore[import-not-found]  # only its own environment has it
    import torch
    from torch.utils.data import DataLoader
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        get_linear_schedule_with_warmup,
    )

    torch.manual_seed(0)
    torch.set_num_threads(job["threads"])
    tokenizer: Any = AutoTokenizer.from_pretrained(job["teacher"])
    teacher, student = (AutoModelForSequenceClassification.from_pretrained(job["teacher"]) for _ in range(2))
    keep_layers(student, job["layers"])
    pad = DataCollatorWithPadding(tokenizer)

    def batches(split: str, shuffle: bool) -> Any:
        texts, _ = read_split(request["data"], split)
        encoded = tokenizer(texts, truncation=True)
        rows = [{name: encoded[name][row] for name in encoded} for row in range(len(texts))]
        # TextBrewer takes plain dicts only.
        return DataLoader(rows, job["batch_size"], shuffle, collate_fn=lambda some: dict(pad(some)))  # type: ignore[arg-type]

    train = batches("train", shuffle=True)
    optimizer = torch.optim.AdamW(student.parameters(), lr=LEARNING_RATE)
    steps = len(train) * request["epochs"]
    distiller = getattr(textbrewer, job["settings"]["distiller"])(
        # One checkpoint, at the end, as ours.
        textbrewer.TrainingConfig(device="cpu", output_dir=request["scratch"], ckpt_epoch_frequency=request["epochs"]),
        textbrewer.DistillationConfig(temperature=8, is_caching_logits=job["settings"]["is_caching_logits"]),
        model_T=teacher,
        model_S=student,
        adaptor_T=lambda _, outputs: {"logits": outputs.logits},
        adaptor_S=lambda _, outputs: {"logits": outputs.logits},
    )
    with distiller:
        distiller.train(
            optimizer,
            train,
            num_epochs=request["epochs"],
            scheduler_class=get_linear_schedule_with_warmup,
            scheduler_args={"num_warmup_steps": round(_WARMUP * steps), "num_training_steps": steps},
        )

    def accuracy() -> float:
        student.eval()
        with torch.inference_mode():
            found = torch.cat([student(**batch).logits.argmax(-1) for batch in batches("validation", shuffle=False)])
        _, labels = read_split(request["data"], "validation")
        return float((found == torch.tensor(labels)).float().mean())

    return accuracy


def keep_layers(model: Any, layers: list[int]) -> None:
    """Cut a BERT down to ``layers``, in place: the student that compress makes of the same teacher."""
    kept = [model.bert.encoder.layer[index] for index in layers]
    model.bert.encoder.layer = type(model.bert.encoder.layer)(kept)
    model.config.num_hidden_layers = len(layers)


def read_split(folder: str, split: str) -> tuple[list[str], list[int]]:
    """The texts of a split and the numbers of their classes, which SST-2's labels are."""
    rows = [json.loads(line) for line in (Path(folder) / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()]
    return [row["text"] for row in rows], [int(row["label"]) for row in rows]


def _keep_stdout_for_replies() -> TextIO:
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return replies


def main() -> None:
    """Distil as often as asked, until stdin ends."""
    replies = _keep_stdout_for_replies()
    job = json.loads(sys.argv[1])
    distil = {"compress": with_compress, "textbrewer": with_textbrewer}[job["toolkit"]]
    for line in sys.stdin:
        accuracy = distil(job, json.loads(line))
        for reply in ({}, {"accuracy": accuracy()}):
            replies.write(json.dumps(reply) + "\n")
            replies.flush()


if __name__ == "__main__":
    main()
