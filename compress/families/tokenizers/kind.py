"""What a kind of tokenizer, such as WordPiece, must say to lose tokens."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import Any

from transformers import PreTrainedTokenizerFast

Model = dict[str, Any]  # "model" of tokenizer.json: the tokens, and how words are split into them


class Kind(ABC):
    """How tokenizers of one kind lose tokens, so that texts whose tokens all stay are split as before."""

    def vocabulary(self, model: Model) -> dict[str, int]:
        """The id of each token."""
        return dict(model["vocab"])

    def needed(self, model: Model, tokens: Collection[str]) -> set[str]:
        """``tokens`` and the others without which texts of ``tokens`` alone would be split otherwise."""
        return {*tokens, *({model["unk_token"]} & model["vocab"].keys())}

    @abstractmethod
    def fallbacks(self, model: Model) -> set[str]:
        """The tokens that words are split into whose own tokens are gone: with them no word becomes unknown."""

    def with_ids(self, model: Model, ids: Mapping[str, int]) -> Model:
        """``model`` with only the tokens of ``ids``, by these ids, which are in the old order."""
        return model | {"vocab": {token: ids[token] for token in model["vocab"] if token in ids}}

    def is_read(self, _token: str, _tokenizer: PreTrainedTokenizerFast) -> bool:
        """Whether some text has it: what normalizer and pre-tokenizer change or split reaches no token."""
        return True


def is_fallback(characters: Collection[str], vocabulary: Collection[str]) -> bool:
    """Whether a token of these characters, each written as a token, is one or has one that is no token itself."""
    return len(characters) == 1 or not all(character in vocabulary for character in characters)
