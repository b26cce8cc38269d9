"""The interface of a kind of tokenizer, such as WordPiece, by which tokens are removed from it."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import Any

from transformers import PreTrainedTokenizerFast

Model = dict[str, Any]  # "model" of tokenizer.json: the tokens, and how words are split into them


class Kind(ABC):
    """How tokens are removed from tokenizers of one kind, so that texts whose tokens all stay are split as before."""

    def vocabulary(self, model: Model) -> dict[str, int]:
        """The id of each token."""
        return dict(model["vocab"])

    def needed(self, model: Model, tokens: Collection[str]) -> set[str]:
        """``tokens`` and the tokens without which texts of ``tokens`` alone would be split in another way."""
        return {*tokens, *({model["unk_token"]} & model["vocab"].keys())}

    @abstractmethod
    def fallbacks(self, model: Model) -> set[str]:
        """The tokens into which words are split whose own tokens are removed; with them no word becomes unknown."""

    def with_ids(self, model: Model, ids: Mapping[str, int]) -> Model:
        """``model`` with only the tokens of ``ids``, by these ids, which are in the old order."""
        return model | {"vocab": {token: ids[token] for token in model["vocab"] if token in ids}}

    def is_read(self, _token: str, _tokenizer: PreTrainedTokenizerFast) -> bool:
        """Whether some text can have the token: the normalizer and pre-tokenizer may change or split it in any text."""
        return True


def is_fallback(characters: Collection[str], vocabulary: Collection[str]) -> bool:
    """Whether a token has one character only, or a character that is no token; a character is written as its token."""
    return len(characters) == 1 or not all(character in vocabulary for character in characters)
