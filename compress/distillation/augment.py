"""Altered copies of texts for a teacher to label (Tang et al. 2019)."""

import random
from collections.abc import Iterator, Sequence

from compress.runtime.encoding import Text

# The paper's. Its third rule, another word of the same part of speech, needs a tagger and is left out.
_MASK_PROBABILITY = 0.1
_NGRAM_PROBABILITY = 0.25
_LONGEST_NGRAM = 5

Words = tuple[str, ...]


def augmented(texts: Sequence[Text], copies: int, mask_token: str, seed: int) -> Iterator[Text]:
    """Altered copies of each text: some words are masked, and some copies keep only 1 to 5 words in a row.

    "Distilling Task-Specific Knowledge from BERT into Simple Neural Networks" (Tang et al. 2019). Of a pair, one of
    its two texts is altered. A copy that equals the text or an earlier copy is left out. The copies depend on the text
    and ``seed`` alone, so that the teacher cache has them for other data sets too.

    Args:
        texts: texts or pairs.
        copies: of each text, at most.
        mask_token: the tokenizer's, such as ``[MASK]``.
        seed: of the choices.
    """
    for text in texts:
        sides = (text,) if isinstance(text, str) else text
        source = tuple(tuple(side.split()) for side in sides)
        rng = random.Random(repr((seed, sides)))
        seen = {source}
        for _ in range(copies):
            altered = rng.randrange(len(source))
            copy = tuple(
                _alter(words, mask_token, rng) if side == altered else words for side, words in enumerate(source)
            )
            if copy not in seen:
                seen.add(copy)
                joined = [" ".join(words) for words in copy]
                yield joined[0] if len(joined) == 1 else (joined[0], joined[1])


def _alter(words: Words, mask_token: str, rng: random.Random) -> Words:
    masked = tuple(mask_token if rng.random() < _MASK_PROBABILITY else word for word in words)
    if rng.random() >= _NGRAM_PROBABILITY:
        return masked
    length = rng.randint(1, _LONGEST_NGRAM)
    start = rng.randint(0, max(0, len(masked) - length))
    return masked[start : start + length]
