"""Every family's int8 graph against the stock export's of the same weights, quantized by ONNX Runtime.

    python -m benchmarks.family_speed [--families FAMILY...] [--threads 1 2] [--seconds 10] [--data ../shared/data]

Models have the shape of MiniLM and random weights: speed does not depend on their values. They are timed as graphs.py
times, each in a process of its own, in turns. DeBERTa and ModernBERT also get real texts, one at a time: lines of the
test sets of SST-2 and Banking77, by tokenizers of the families' kinds that are trained on the train sets. Graphs are
kept in ``runs/family_speed``. Measure on a quiet machine; rows that are measured anew replace theirs in
``results/family_speed.json``, the others stay, each with the time and versions that it is of. A file of another CPU is
refused.
"""

import argparse
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
import transformers
from tokenizers import ByteLevelBPETokenizer, SentencePieceUnigramTokenizer
from transformers import PreTrainedModel

from benchmarks import beside
from benchmarks.graphs import OURS, Row, earlier, measure, pool, summarise, with_row
from benchmarks.graphs_models import ROOT, Files, build_ours, build_stock, random_texts
from benchmarks.graphs_worker import token_feeds
from benchmarks.kept import RESULTS, add_choice, write
from compress.config import DataConfig
from compress.data.read import read_dataset
from compress.families import FAMILIES
from compress.families.family import Family
from compress.modeling.checkpoint import quiet_transformers

KEPT = RESULTS / "family_speed.json"
WORK = ROOT / "runs" / "family_speed"
STOCK = "stock quantize_dynamic"
# Texts x tokens, and the ratio that is wanted there; of real texts too, whose sets are named.
FIXED = {(8, 128): 1.25, (1, 32): 1.1}
REAL, REAL_GOAL, REAL_FAMILIES = ("sst2", "banking77"), 1.3, ("deberta-v2", "modernbert")
MINILM: dict[str, Any] = {
    "vocab_size": 30_522,
    "hidden_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
    "num_labels": 2,
}
# What DeBERTa-v3's published configs set.
_DEBERTA_V3: dict[str, Any] = {
    "relative_attention": True,
    "position_buckets": 256,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "pos_att_type": ["p2c", "c2p"],
    "position_biased_input": False,
}
_SPECIALS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
_TEXTS, _MOST_TOKENS, _TOKENS = 100, 128, 16_000
_TOLERANCE = 1e-4


def random_model(family: Family, shape: dict[str, Any]) -> PreTrainedModel:
    """An untrained classifier of the family."""
    torch.manual_seed(0)
    settings = {
        name: 0 if name == "pad_token_id" else None for name in ("pad_token_id", "bos_token_id", "eos_token_id")
    }
    settings |= shape | {"max_position_embeddings": 512, "hidden_act": "gelu"}
    if family.counts_tokens:
        settings |= {"pad_token_id": 1, "max_position_embeddings": 514, "type_vocab_size": 1}
    if family.relative_positions:
        settings |= _DEBERTA_V3
    with quiet_transformers():
        config = getattr(transformers, family.config)(**family.renamed(settings))
        model: PreTrainedModel = getattr(transformers, family.classifier)(config)
    model.train(mode=False)
    return model


def prepare(family: Family, folder: Path, shape: dict[str, Any]) -> None:
    """Both graphs of a family; the stock one only where it is missing.

    Raises:
        SystemExit: the stock export answers otherwise, as one with sizes that were fixed in the trace would.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = random_model(family, shape)
    build_ours(model, folder)
    if not Files(folder).contenders[STOCK].is_file():
        build_stock(model, folder)
    sessions = [ort.InferenceSession(folder / f"{name}.fp32.onnx") for name in ("ours", "stock")]
    for batch, length in FIXED:
        feeds = token_feeds(random_texts(batch, length))
        ours, stock = (session.run(None, {one: feeds[one] for one in family.inputs})[0] for session in sessions)
        if not np.abs(ours - stock).max() <= _TOLERANCE:
            raise SystemExit(f"{folder}: the stock export's logits are not ours at {batch} x {length}")


@cache
def real_texts(kind: str, data: Path) -> dict[str, list[list[int]]]:
    """By data set, token ids of lines of its test set, by a tokenizer of the ``kind`` trained on all train sets."""
    sets = {name: read_dataset(DataConfig(data=str(data / name))) for name in REAL}
    lines = [text for one in sets.values() for text in one.train.texts if isinstance(text, str)]
    tokenizer: Any = ByteLevelBPETokenizer() if kind == "BPE" else SentencePieceUnigramTokenizer()
    unknown = {} if kind == "BPE" else {"unk_token": "[UNK]"}
    tokenizer.train_from_iterator(lines, vocab_size=_TOKENS, special_tokens=_SPECIALS, show_progress=False, **unknown)
    first, last = map(_SPECIALS.index, ("[CLS]", "[SEP]"))
    return {
        name: [
            [first, *tokenizer.encode(text).ids[: _MOST_TOKENS - 2], last]
            for text in one.test.texts[:: len(one.test) // _TEXTS][:_TEXTS]
        ]
        for name, one in sets.items()
    }


def measure_family(
    family: Family, folder: Path, data: Path, threads: int, seconds: float
) -> Iterator[tuple[Row, float]]:
    """The family's rows, each with its goal."""
    loads: list[tuple[str, list[Any], float]] = [
        (f"{batch} x {length}", [random_texts(batch, length)], goal) for (batch, length), goal in FIXED.items()
    ]
    if family.model_type in REAL_FAMILIES:
        found = real_texts(family.tokenizer, data)
        loads += [(f"{name} lines", [[ids] for ids in texts], REAL_GOAL) for name, texts in found.items()]
    contenders = Files(folder).contenders
    with pool({name: contenders[name] for name in (OURS, STOCK)}, threads) as processes:
        for load, batches, goal in loads:
            _, times_ms = measure(processes, batches, seconds)
            yield summarise(family.name, load, threads, times_ms, [], {}), goal


def save(row: Row, goal: float, path: Path) -> dict[str, Any]:
    """Put a row into the results, at once, so that a run that is cut off keeps what it has; the whole document."""
    document = with_row(earlier(path), row, goal=goal, met=row.ratio[STOCK] >= goal) | {"shape": MINILM}
    write(path, document)
    return document


def main() -> None:
    """Prepares what is missing, measures, prints the table and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_choice(parser, "--families", FAMILIES)
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--seconds", type=float, default=10.0, help="for each load")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    given = parser.parse_args()
    earlier(KEPT)  # says so where it is of another CPU
    torch.set_num_threads(1)
    chosen = [FAMILIES[name] for name in given.families]
    for family in chosen:  # before anything is timed
        prepare(family, WORK / family.model_type, MINILM)
    for family in chosen:
        for threads in given.threads:
            folder = WORK / family.model_type
            for row, goal in measure_family(family, folder, given.data, threads, given.seconds):
                document = save(row, goal, KEPT)
    print(beside.families(document), end="")


if __name__ == "__main__":
    main()
