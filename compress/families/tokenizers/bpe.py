"""BPE, as RoBERTa has it: pairs of neighbours are merged, each time the one that stands first in the list of merges."""

from collections import defaultdict
from collections.abc import Collection, Mapping

from compress.families.tokenizers.kind import Kind, Model


class BytePairs(Kind):
    """A token stays with its ancestors, the tokens that may be merged on the way to it; so do the merges between them.

    Where all of a text's tokens stay it is split as before: each merge that was made in it gave one of them or an
    ancestor, so at every step the first merge that applies is in the shorter list too, and is the first one there.
    """

    def needed(self, model: Model, tokens: Collection[str]) -> set[str]:
        """With all ancestors, by any merge: a token may be made by more than one."""
        parts: defaultdict[str, set[str]] = defaultdict(set)
        for left, right in model["merges"]:
            parts[_merged(model, left, right)] |= {left, right}
        found: set[str] = set()
        rest = super().needed(model, tokens)
        while rest:
            found |= rest
            rest = set().union(*(parts[token] for token in rest & parts.keys())) - found
        return found

    def fallbacks(self, model: Model) -> set[str]:
        """What no merge makes: all bytes, or the characters."""
        return set(model["vocab"]) - {_merged(model, *pair) for pair in model["merges"]}

    def with_ids(self, model: Model, ids: Mapping[str, int]) -> Model:
        """Also without the merges of what is gone."""
        merges = [pair for pair in model["merges"] if {*pair, _merged(model, *pair)} <= ids.keys()]
        return super().with_ids(model, ids) | {"merges": merges}


def _merged(model: Model, left: str, right: str) -> str:
    prefix: str = model["continuing_subword_prefix"] or ""
    return left + right[len(prefix) :]
