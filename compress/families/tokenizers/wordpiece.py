"""WordPiece, as BERT has it: a word is split from the left, each time at the longest piece that fits."""

from transformers import PreTrainedTokenizerFast

from compress.families.tokenizers.kind import Kind, Model, is_fallback


class WordPiece(Kind):
    """A word whose pieces all stay is split as before: a longest piece that stays is still the longest."""

    def fallbacks(self, model: Model) -> set[str]:
        """Single characters, and pieces with a character that has no piece of its own.

        BERT's vocabularies have none of the latter.
        """
        vocabulary, prefix = model["vocab"], model["continuing_subword_prefix"]
        return {token for token in vocabulary if is_fallback(_characters(token, prefix), vocabulary)}

    def is_read(self, token: str, tokenizer: PreTrainedTokenizerFast) -> bool:
        """Whether normalizer and pre-tokenizer leave the token whole; they split off punctuation, for one."""
        backend = tokenizer.backend_tokenizer
        prefix = backend.model.continuing_subword_prefix
        text = "a" + token.removeprefix(prefix) if _is_inner(token, prefix) else token
        normal = backend.normalizer.normalize_str(text) if backend.normalizer else text
        split = backend.pre_tokenizer.pre_tokenize_str(normal) if backend.pre_tokenizer else [(normal, (0, 0))]
        return [word for word, _ in split] == [text]


def _is_inner(token: str, prefix: str) -> bool:
    return token.startswith(prefix) and token != prefix


def _characters(token: str, prefix: str) -> list[str]:
    """Each character of ``token``, as the piece that it would be in a word."""
    inner = _is_inner(token, prefix)
    letters = token.removeprefix(prefix) if inner else token
    return [prefix + letter if inner or at else letter for at, letter in enumerate(letters)]
