"""A RoBERTa tokenizer as nodes of a graph: one text or pair of texts in, token ids out, cut as ``tokenizers`` cuts.

Words are split and merged by the ``RobertaTokenizer`` operator of onnxruntime-extensions, which knows all of Unicode.
It knows neither pairs nor a limit that includes special tokens, so each text is read alone and whole, and cut then.
"""

import json
from collections.abc import Sequence
from typing import Any

from tokenizers import Tokenizer
from tokenizers.pre_tokenizers import ByteLevel

from compress.errors import CompressError
from compress.formatting import some
from compress.graph.tokenizer import Tokens, split_room, text_op
from compress.graph.writer import GraphWriter
from compress.runtime.encoding import side_of

_ENDS = ["<s>", "</s>"]  # as the operator calls them
_MASK = "<mask>"


def write_tokens(graph: GraphWriter, tokenizer: Tokenizer, texts: Sequence[str], max_length: int) -> Tokens:
    """The tokens of the values ``texts``, one or two strings ``[1]``: at most ``max_length``, special ones included."""
    options = _options(tokenizer)
    pair = "" if len(texts) == 2 else None
    special = tokenizer.encode("", pair).ids  # before, between and after the texts
    zero, room = graph.constant("zero.1", [0]), max_length - len(special)
    words = [_words(graph, text, options) for text in texts]
    lengths = [graph.op("Shape", value, name=f"{value}.length") for value in words]
    kept: Sequence[str] = [graph.constant("room", [room])]
    if len(words) == 2:
        kept = split_room(graph, lengths[0], lengths[1], room)
    if side_of(tokenizer) == "right":
        bounds = [(zero, keep) for keep in kept]
    else:
        lost = [
            graph.op("Sub", length, keep, name=f"{length}.lost") for length, keep in zip(lengths, kept, strict=True)
        ]
        starts = [graph.op("Max", value, zero, name=f"{value}.or_none") for value in lost]
        bounds = list(zip(starts, lengths, strict=True))
    parts = [graph.op("Slice", word, *ends, name=f"{word}.kept") for word, ends in zip(words, bounds, strict=True)]
    first, *between, last = special
    around = [graph.constant("tokens.first", [first]), graph.constant("tokens.last", [last])]
    inner = [graph.constant("tokens.between", between)] if between else []
    ids = graph.op("Concat", around[0], parts[0], *inner, *parts[1:], around[1], name="tokens", axis=0)
    length = graph.op("Shape", ids, name="tokens.length")
    mask = graph.op("Expand", graph.constant("one.1", [1]), length, name="tokens.mask")
    return Tokens(ids, mask, graph.op("Expand", zero, length, name="tokens.types"))


def _words(graph: GraphWriter, text: str, options: dict[str, Any]) -> str:
    """The token ids of a whole text without special tokens, int64 ``[tokens]``."""
    one, minus_one = graph.constant("one.1", [1]), graph.constant("minus_one.1", [-1])
    rows = text_op(graph, "RobertaTokenizer", text, name=f"{text}.rows", **options)
    row = graph.op("Squeeze", rows, graph.constant("zero.1", [0]), name=f"{text}.row")
    return graph.op("Slice", row, one, minus_one, name=f"{text}.words")


def _options(tokenizer: Tokenizer) -> dict[str, Any]:
    """The operator's vocabulary, merges and added tokens.

    Raises:
        CompressError: the operator would split texts differently, in silence.
    """
    described: dict[str, Any] = json.loads(tokenizer.to_str())
    model, added = described["model"], described["added_tokens"]
    merges = [" ".join(pair) for pair in model["merges"]]
    if reason := _difference(tokenizer, described, merges):
        raise CompressError(
            "export --single-file: of BPE tokenizers the operators for graphs know RoBERTa's, and this is another one: "
            f"{reason}; leave --single-file out"
        )
    return {
        "vocab": json.dumps(model["vocab"]),
        "merges": "\n".join(merges),
        "added_token": "\n".join(f"{token['content']}={token['id']}" for token in added),
    }


def _difference(tokenizer: Tokenizer, described: dict[str, Any], merges: Sequence[str]) -> str | None:
    """The first thing that the tokenizer does differently from the operator, in words; None if there is none."""
    model, added = described["model"], described["added_tokens"]
    words, normalizer = described["pre_tokenizer"] or {}, described["normalizer"] or {}
    text, pair = tokenizer.encode("").tokens, tokenizer.encode("", "")
    around = [*text, *pair.tokens[:1], *pair.tokens[-1:]]
    splits = words.get("type"), words.get("add_prefix_space"), words.get("use_regex", True)
    rules = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "ignore_merges", "byte_fallback")
    bound = [
        token["content"]
        for token in added
        if token["content"] != _MASK and (token["single_word"] or token["lstrip"] or token["rstrip"])
    ]
    unread = any(token["content"].startswith(" ") or {"\n", "\r"} & {*token["content"]} for token in added)
    differences = {
        f"it normalizes texts ({normalizer.get('type')})": bool(normalizer),
        "it splits texts in another way, or puts a space before them": splits != ("ByteLevel", False, True),
        "it puts other tokens than <s> and </s> around texts": around != _ENDS * 2,
        "it tells the second text of a pair by type ids": any(pair.type_ids),
        # The operator takes a first line that begins with # for a comment.
        "it merges by other rules": not merges or merges[0].startswith("#") or any(map(model.get, rules)),
        "it lacks <unk>, <pad> or a byte": not {"<unk>", "<pad>", *ByteLevel.alphabet()} <= model["vocab"].keys(),
        "an added token has a line break, or begins with a space": unread,
        f"{some(bound)} are found as whole words only, or with the spaces beside them": bool(bound),
    }
    return next((reason for reason, differs in differences.items() if differs), None)
