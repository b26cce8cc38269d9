"""A tokenizer with fewer tokens: those that stay keep their order, and everything that holds ids is renumbered."""

import json
from collections.abc import Collection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedTokenizerFast

from compress.errors import CompressError
from compress.families.tokenizers.bpe import BytePairs
from compress.families.tokenizers.kind import Kind
from compress.families.tokenizers.unigram import Unigram
from compress.families.tokenizers.wordpiece import WordPiece

KINDS: dict[str, Kind] = {"WordPiece": WordPiece(), "BPE": BytePairs(), "Unigram": Unigram()}

_FILE = "tokenizer.json"
_DECIDES = ("normalizer", "pre_tokenizer", "model", "added_tokens", "post_processor")


def components(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """The parts of ``tokenizer.json`` that decide the ids that a text gets."""
    description = describe(tokenizer)
    return {name: description[name] for name in _DECIDES}


def describe(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """The content of ``tokenizer.json``, without limits on a text's length."""
    description: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    return description | {"truncation": None, "padding": None}


def require_known_kind(tokenizer: PreTrainedTokenizerFast, source: str) -> None:
    """Refuse a tokenizer that is of none of ``KINDS``."""
    if (kind := type(tokenizer.backend_tokenizer.model).__name__) not in KINDS:
        known = ", ".join(KINDS)
        raise CompressError(f"{source}: its tokenizer is {kind}; --vocabulary works on {known}; leave it out")


def with_tokens(tokenizer: PreTrainedTokenizerFast, tokens: Collection[str]) -> PreTrainedTokenizerFast:
    """A tokenizer of the same class and settings that knows only ``tokens`` and those that they need.

    The ids count from 0 in the old order.
    """
    with TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        file = Path(folder) / _FILE
        description = description_with(describe(tokenizer), tokens)
        file.write_text(json.dumps(description, ensure_ascii=False), encoding="utf-8")
        smaller: PreTrainedTokenizerFast = type(tokenizer).from_pretrained(folder)
    smaller.name_or_path = tokenizer.name_or_path
    return smaller


def description_with(description: dict[str, Any], tokens: Collection[str]) -> dict[str, Any]:
    """``tokenizer.json`` with only ``tokens`` and those that they need; a text of them alone is split as before."""
    model, added = description["model"], description["added_tokens"]
    kind = KINDS[model["type"]]
    ids = kind.vocabulary(model) | {token["content"]: token["id"] for token in added}
    kept = kind.needed(model, tokens) & ids.keys()
    new = {token: at for at, token in enumerate(sorted(kept, key=ids.__getitem__))}
    return description | {
        "model": kind.with_ids(model, new),
        "added_tokens": [token | {"id": new[token["content"]]} for token in added if token["content"] in new],
        "post_processor": _renumbered(description["post_processor"], new),
    }


def knows_fewer_tokens(smaller: PreTrainedTokenizerFast, whole: PreTrainedTokenizerFast) -> bool:
    """Whether ``smaller`` is ``whole`` without some of its tokens: as :func:`with_tokens` makes it."""
    tokens = smaller.get_vocab().keys()
    if not tokens < whole.get_vocab().keys():  # quick: comparing descriptions takes seconds for 250,000 tokens
        return False
    parts = components(whole)
    return parts["model"]["type"] in KINDS and description_with(parts, tokens) == components(smaller)


def ids_in(whole: PreTrainedTokenizerFast, smaller: PreTrainedTokenizerFast) -> npt.NDArray[np.int64]:
    """For each token of ``smaller``, in the order of its ids, the id that it has in ``whole``."""
    ids, own = whole.get_vocab(), smaller.get_vocab()
    return np.array([ids[token] for token in sorted(own, key=own.__getitem__)], dtype=np.int64)


def _renumbered(processor: dict[str, Any] | None, ids: dict[str, int]) -> dict[str, Any] | None:
    """The processor that puts ``[CLS]`` and ``[SEP]`` around a text, with new ids, in any of the forms of a file."""
    if processor is None:
        return None
    changed: dict[str, Any] = {}
    if "processors" in processor:
        changed["processors"] = [_renumbered(inner, ids) for inner in processor["processors"]]
    if "special_tokens" in processor:
        changed["special_tokens"] = {
            name: token | {"ids": [ids[part] for part in token["tokens"]]}
            for name, token in processor["special_tokens"].items()
        }
    for name in {"cls", "sep"} & processor.keys():
        token, _ = processor[name]
        changed[name] = [token, ids[token]]
    return processor | changed
