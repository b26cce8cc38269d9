"""For clients that do not read ``tokenizer.json``: the lines of ``vocab.txt``, and the settings beside it."""

from typing import Any

from tokenizers import Tokenizer


def vocabulary_lines(tokenizer: Tokenizer) -> list[str] | None:
    """The lines of ``vocab.txt``, where a token's id is its line's number; None for a tokenizer that is not WordPiece.

    An id without a token, or whose token cannot stand on a line, has a line such as ``[unused7]`` that no text is split
    into, else all tokens after it would be off by one.
    """
    if type(tokenizer.model).__name__ != "WordPiece":
        return None
    vocabulary = tokenizer.get_vocab()
    tokens = {number: token for token, number in vocabulary.items() if token and not {"\n", "\r"} & set(token)}
    free = (f"[unused{number}]" for number in range(10**9))
    placeholders = (line for line in free if line not in vocabulary)
    return [tokens.get(number) or next(placeholders) for number in range(max(vocabulary.values()) + 1)]


def normalizer_settings(tokenizer: Tokenizer) -> dict[str, Any]:
    """The settings in ``tokenizer_config.json`` of how BERT's tokenizer changes letters; empty for other tokenizers."""
    normalizer = tokenizer.normalizer
    if type(normalizer).__name__ != "BertNormalizer":
        return {}
    return {
        "do_lower_case": normalizer.lowercase,
        "strip_accents": normalizer.strip_accents,
        "tokenize_chinese_chars": normalizer.handle_chinese_chars,
    }
