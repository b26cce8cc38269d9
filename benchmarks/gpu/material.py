"""Models with random weights, a small tokenizer and synthetic texts: all that the commands need, nothing fetched."""

import json
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification, BertTokenizer

from benchmarks.gpu.setting import Setting, Shape, sst2_lengths
from compress.modeling.checkpoint import Checkpoint, quiet_transformers, save_checkpoint

SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LABELS = ("negative", "positive")
# 1,000 words of two syllables, each a token of its own: a text of n words has n + 2 tokens.
SYLLABLES = ["".join(pair) for pair in product("bdfgklmnprst", "aeiou")][:32]
WORDS = ["".join(pair) for pair in product(SYLLABLES, SYLLABLES)][:1000]


def make_all(setting: Setting) -> None:
    """Every model and the data, in ``setting.folder``."""
    rows = min(shape.vocabulary for shape in setting.shapes.values())
    tokenizer = make_tokenizer(setting.folder / "tokenizer", rows)
    for name, shape in setting.shapes.items():
        make_model(shape, tokenizer, setting.folder / name)
    make_data(setting.texts, setting.folder / "data")


def make_tokenizer(folder: Path, rows: int) -> Any:
    """A WordPiece tokenizer of the words above, and of tokens that no text has, one for each of ``rows`` embeddings."""
    words = [*SPECIALS, *WORDS]
    unused = [f"[unused{index}]" for index in range(len(words), rows)]
    vocabulary = {token: index for index, token in enumerate((*words, *unused))}
    tokenizer = BertTokenizer(vocab=vocabulary, model_max_length=128)
    tokenizer.save_pretrained(folder)
    return tokenizer


def make_model(shape: Shape, tokenizer: Any, folder: Path) -> None:
    """A classifier of this shape, as ``compress`` writes one. Speed does not depend on what the weights are."""
    torch.manual_seed(0)
    with quiet_transformers():
        model = AutoModelForSequenceClassification.from_config(shape.config())
    with torch.no_grad():  # biases and norms are not to be 0 and 1, as a fresh model's are, when logits are compared
        for weight in model.parameters():
            if weight.dim() == 1:
                weight.add_(torch.randn_like(weight), alpha=0.02)
        model.classifier.weight.normal_(0.0, 0.5)
    folder.mkdir(parents=True, exist_ok=True)
    save_checkpoint(Checkpoint(model.eval(), tokenizer, "single_label", LABELS, 128, source="made here"), folder)


def make_data(texts: int, folder: Path) -> None:
    """Train, validation and test files of texts as long as SST-2's; the label is whether an early word is in them."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for split, count in {"train": texts, "validation": texts // 10, "test": max(texts // 10, 16)}.items():
        lines = []
        for length in sst2_lengths(count, 128):
            words = [WORDS[index] for index in rng.integers(0, len(WORDS), max(length - 2, 1))]
            lines.append(json.dumps({"text": " ".join(words), "label": LABELS[words[0] < "g"]}))
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def fixed_batch(batch: int, length: int, vocabulary: int) -> dict[str, Any]:
    """Random tokens, int64 ``[batch, length]``, none of them padding."""
    return ragged_batch([length] * batch, vocabulary)


def ragged_batch(lengths: Sequence[int], vocabulary: int) -> dict[str, Any]:
    """Random tokens of texts of these lengths, padded on the right to the longest."""
    rng = np.random.default_rng(len(lengths))
    kept = (np.arange(max(lengths)) < np.asarray(lengths)[:, None]).astype(np.int64)
    ids = rng.integers(len(SPECIALS), min(vocabulary, len(WORDS)), kept.shape) * kept
    return {"input_ids": ids, "attention_mask": kept, "token_type_ids": np.zeros_like(ids)}
