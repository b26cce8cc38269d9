"""Unigram, as XLM-R and CamemBERT have it: a text is split in the way whose pieces' scores sum up highest."""

from collections.abc import Collection, Mapping

from compress.families.tokenizers.kind import Kind, Model, is_fallback

_BYTES = frozenset(f"<0x{byte:02X}>" for byte in range(256))


class Unigram(Kind):
    """Scores stay, so a text's best split whose pieces all stay is still the best, as fewer other splits are left.

    A character without a piece is unknown, at 10 below the lowest score. So the piece of the lowest score stays, or
    unknown characters would cost less; a character whose piece is removed costs more than before, so no split gains.
    """

    def vocabulary(self, model: Model) -> dict[str, int]:
        """A piece's id is its place in the list, the last one if the piece is there twice."""
        return {piece: number for number, (piece, _) in enumerate(model["vocab"])}

    def needed(self, model: Model, tokens: Collection[str]) -> set[str]:
        """``tokens``, the unknown piece, and a piece of the lowest score."""
        pieces, unknown = model["vocab"], model["unk_id"]
        lowest = min(pieces, key=lambda piece: float(piece[1]))
        return {*tokens, *(piece for piece, _ in [lowest, *([] if unknown is None else [pieces[unknown]])])}

    def fallbacks(self, model: Model) -> set[str]:
        """Single characters, and pieces with a character that has no piece of its own; with byte fallback, all bytes.

        A character that has a piece of its own is never unknown.
        """
        vocabulary = self.vocabulary(model)
        fallbacks = {piece for piece in vocabulary if is_fallback(piece, vocabulary)}
        return fallbacks | (_BYTES & vocabulary.keys() if model["byte_fallback"] else set())

    def with_ids(self, model: Model, ids: Mapping[str, int]) -> Model:
        """``model`` with the list of pieces in the old order, and the unknown piece's new place."""
        pieces, unknown, numbers = model["vocab"], model["unk_id"], self.vocabulary(model)
        kept = [entry for number, entry in enumerate(pieces) if entry[0] in ids and numbers[entry[0]] == number]
        return model | {"vocab": kept, "unk_id": None if unknown is None else ids[pieces[unknown][0]]}
