"""BPE, as RoBERTa has it: neighbours are merged, each time the pair that stands first in the list of merges."""

from collections import defaultdict
from collections.abc import Collection, Mapping

from compress.families.tokenizers.kind import Kind, Model


class BytePairs(Kind):
    """A token stays with its ancestors, the tokens that may be merged on the way to it; so do the merges between them.

    A text whose tokens all stay is split as before: each merge in it gave one of them or an ancestor, so at every step
    the first merge that applies is in the shorter list too, and is the first one there.
    """

    def needed(self, model: Model, tokens: Collection[str]) -> set[str]:
        """``tokens`` with all their ancestors, by any merge: more than one merge may make a token."""
        parts: defaultdict[str, set[str]] = defaultdict(set)
        for left, right in model["merges"]:
            parts[_merged(model, left, right)] |= {left, right}
        needed: set[str] = set()
        rest = super().needed(model, tokens)
        while rest:
            needed |= rest
            rest = set().union(*(parts[token] for token in rest & parts.keys())) - needed
        return needed

    def fallbacks(self, model: Model) -> set[str]:
        """The tokens that no merge makes: all bytes, or the characters."""
        return set(model["vocab"]) - {_merged(model, *pair) for pair in model["merges"]}

    def with_ids(self, model: Model, ids: Mapping[str, int]) -> Model:
        """As for any kind, and without the merges of removed tokens."""
        merges = [pair for pair in model["merges"] if {*pair, _merged(model, *pair)} <= ids.keys()]
        return super().with_ids(model, ids) | {"merges": merges}


def _merged(model: Model, left: str, right: str) -> str:
    prefix: str = model["continuing_subword_prefix"] or ""
    return left + right[len(prefix) :]
