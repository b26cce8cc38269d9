"""Splits made from rows that have none: deterministic, stratified by label, and without leaks.

Phrases of one sentence are spread over SST-2's train file, and news agencies reuse whole paragraphs. Two texts are kin

1. if they have the same words, whatever their case and punctuation;
2. if they share 8 words in a row;
3. if one of them, of 4 to 7 words, occurs whole in the other.

A run of words found in more than 100 different texts is a template or a figure of speech, and links nothing. A text of
fewer than 4 words ("a smile") occurs in many sentences, and linking them all would glue the corpus into one group: it
joins the first longer text that contains it, and so does a longer phrase that is that common.

Where a script puts no blanks between words, every run of 5 characters (Chinese, Japanese) or 12 (Thai, Lao, Khmer,
Burmese, Tibetan, whose characters say less) is a word, so that 12 or 19 characters in a row make two texts kin.

Groups are the connected components: 6,661 in SST-2's 67,349 phrases (of 6,920 sentences), the largest of 202 rows; in
Banking77 the largest is 41 of 10,003, in BBC News 117 of 2,225. With 5 words in a row half of Banking77 would be one
group, and nearly all of BBC News; with whole phrases of 3 words a thirteenth of SST-2.
"""

import re
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from compress.progress import say, say_before_work
from compress.runtime.encoding import Text

Ints = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.int32]
Labels = Sequence[tuple[str, ...]]

_SHARED_WORDS = 8
_PHRASE_WORDS = 4
_COMMON = 100
_MANY_WORDS = 10_000_000  # from here on the comparison takes longer than a user waits without a word
_DENSE = "\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
_LONG = "\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u1a20-\u1aaf"
_UNSPACED = re.compile(f"[{_DENSE}{_LONG}]")
# A run of characters of such a script, with the blanks and punctuation in it; or a word of another.
_PIECE = re.compile(
    rf"(?P<dense>[{_DENSE}](?:[^\w{_LONG}]*[{_DENSE}])*)|(?P<long>[{_LONG}](?:[^\w{_LONG}]*[{_LONG}])*)|[^\W{_DENSE}{_LONG}]+"
)
_GRAM = {"dense": 5, "long": 12}
_WORD = re.compile(r"\w+")


def hold_out(texts: Sequence[Text], labels: Labels, sizes: Sequence[int], seed: int) -> list[list[int]]:
    """Choose rows for held-out splits of about the given sizes.

    Groups of kindred texts move as a whole. Where they are too large to fill at least half of a split, only texts of
    the same words are kept together. The last row of a label is never taken.

    Returns:
        The rows of each held-out split, in their order of appearance, then the rows that are left. A split is empty
        only where too few different texts are there.
    """
    splits = _choose(kindred(texts), labels, sizes, seed)
    if all(len(split) * 2 >= size for split, size in zip(splits, sizes, strict=False)):
        return splits
    again = _choose(identical(texts), labels, sizes, seed)
    if again != splits and all(again):
        say_before_work(
            "data: texts that share passages form groups too large to hold out whole, so they may be in several splits"
        )
    return again


def _choose(group_of: Ints, labels: Labels, sizes: Sequence[int], seed: int) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    strata = _strata(labels)
    left: dict[int, list[int]] = {group: [] for group in range(max(group_of) + 1)}
    for row, group in enumerate(group_of.tolist()):
        left[group].append(row)
    label_counts = Counter(label for row in labels for label in row)
    splits = []
    for size in sizes:
        quota = _quotas(Counter(strata[row] for rows in left.values() for row in rows), size)
        taken: list[int] = []
        for group in rng.permutation(list(left)):
            strata_here = Counter(strata[row] for row in left[group])
            labels_here = Counter(label for row in left[group] for label in labels[row])
            if strata_here <= quota and all(count < label_counts[label] for label, count in labels_here.items()):
                quota -= strata_here
                label_counts -= labels_here
                taken += left.pop(group)
            if not quota:
                break
        splits.append(sorted(taken))
    splits.append(sorted(row for rows in left.values() for row in rows))
    return splits


def _strata(labels: Labels) -> list[str]:
    """The stratum of each row: its rarest label; for a single-label task its label."""
    counts = Counter(label for row in labels for label in row)
    return [min(row, key=lambda label: (counts[label], label), default="") for row in labels]


def _quotas(counts: Counter[str], size: int) -> Counter[str]:
    """The rows to take of each stratum: ``size`` in proportion, by largest remainders, leaving one row of each."""
    spare = {stratum: count - 1 for stratum, count in counts.items() if count > 1}
    size = min(size, sum(spare.values()))
    exact = {stratum: size * count / sum(spare.values()) for stratum, count in spare.items()}
    quota = Counter({stratum: int(share) for stratum, share in exact.items()})
    by_remainder = sorted(exact, key=lambda stratum: (quota[stratum] - exact[stratum], stratum))
    quota.update(by_remainder[: size - quota.total()])
    return quota


def identical(texts: Sequence[Text]) -> Ints:
    """The group of each text, int64 ``[n]``, where only texts of the same words belong together."""
    return _numbered(texts)[0]


def kindred(texts: Sequence[Text]) -> Ints:
    """The group of each text, int64 ``[n]``, where kin belong together; takes time linear in the number of words."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    same, words, lengths = _numbered(texts)
    if len(words) > _MANY_WORDS:
        say(f"data: {len(words):,} words are compared, to keep texts that share passages on one side; takes a while")
    sides = 1 if isinstance(texts[0], str) else len(texts[0])
    links = np.concatenate(list(_links(words, lengths, sides)), axis=1)
    count = len(lengths) // sides
    graph = coo_array((np.ones(links.shape[1], dtype=np.bool_), (links[0], links[1])), shape=(count, count))
    component: Ints = connected_components(graph, directed=False)[1].astype(np.int64)
    return component[same]


def _numbered(texts: Sequence[Text]) -> tuple[Ints, Numbers, Numbers]:
    """The group of each text as :func:`identical` has it, numbered from 0 in the order of first appearance.

    After it, the words of each group's first text as numbers, and the number of words of each side of these texts.
    Words become numbers as they are read: as strings they would take twenty times as much memory.
    """
    numbers: dict[str, int] = {}
    groups: dict[tuple[bytes, ...], int] = {}
    group_of, words, lengths = array("q"), array("i"), array("i")
    for text in texts:
        sides = [array("i", [numbers.setdefault(word, len(numbers)) for word in side]) for side in _words(text)]
        known = len(groups)
        group_of.append(groups.setdefault(tuple(side.tobytes() for side in sides), known))
        if group_of[-1] == known:
            for side in sides:
                words.extend(side)
                lengths.append(len(side))
    return np.array(group_of, dtype=np.int64), np.array(words, dtype=np.int32), np.array(lengths, dtype=np.int32)


def _links(words: Numbers, lengths: Numbers, sides: int) -> Iterator[Numbers]:
    """Pairs of kin among texts that all differ, of ``sides`` sides each, int32 ``[2, links]``, in several arrays."""
    side_of = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
    ends = np.cumsum(lengths, dtype=np.int32)
    adopt = sides == 1  # many pairs have one short side in common: it must not glue them

    # Two runs have the same number exactly if their words are the same.
    starts, runs = np.arange(len(words), dtype=np.int32), words
    for length in range(1, _SHARED_WORDS + 1):
        if length > 1:  # a run that occurs once also does so when it is longer
            fits = (np.bincount(runs) > 1)[runs] & (ends[side_of[starts]] - starts >= length)
            starts = starts[fits]
            runs = _renumbered(runs[fits].astype(np.int64) * len(words) + words[starts + (length - 1)])
        side_here = side_of[starts]
        texts_here, whole = side_here // sides, lengths[side_here] == length
        rare = np.bincount(runs) <= _COMMON
        is_phrase = np.zeros(len(rare), dtype=np.bool_)
        is_phrase[runs[whole]] = True
        binding = rare if length == _SHARED_WORDS else rare & is_phrase & (length >= _PHRASE_WORDS)
        yield _chain(runs[binding[runs]], texts_here[binding[runs]])
        if adopt and length < _SHARED_WORDS:
            host = np.full(len(rare), -1, dtype=np.int32)
            host[runs[~whole][::-1]] = texts_here[~whole][::-1]  # the last assignment stays: the first longer text
            phrases = np.stack([texts_here[whole], host[runs[whole]]])
            yield phrases[:, phrases[1] >= 0]


def _renumbered(values: Ints) -> Numbers:
    """Numbers from 0, equal for equal values; as numpy's ``unique``, in less than half the memory."""
    order = np.argsort(values)
    values = values[order]
    changes = np.zeros(len(values), dtype=np.bool_)
    np.not_equal(values[1:], values[:-1], out=changes[1:])
    numbers = np.empty(len(values), dtype=np.int32)
    numbers[order] = np.cumsum(changes, dtype=np.int32)
    return numbers


def _chain(runs: Numbers, texts: Numbers) -> Numbers:
    """Link each text to the next one with the same run."""
    order = np.argsort(runs, kind="stable")
    runs, texts = runs[order], texts[order]
    again = runs[1:] == runs[:-1]
    return np.stack([texts[:-1][again], texts[1:][again]])


def _words(text: Text) -> tuple[tuple[str, ...], ...]:
    """The words of each side of a text; a text without any, such as ":)", is one word."""
    sides = (text,) if isinstance(text, str) else text
    return tuple(tuple(_words_of(side.lower())) or (side,) for side in sides)


def _words_of(text: str) -> list[str]:
    if text.isascii() or not _UNSPACED.search(text):
        return _WORD.findall(text)
    words = []
    for piece in _PIECE.finditer(text):
        if piece.lastgroup is None:
            words.append(piece[0])
            continue
        characters, size = "".join(_UNSPACED.findall(piece[0])), _GRAM[piece.lastgroup]
        words += [characters[start : start + size] for start in range(max(1, len(characters) - size + 1))]
    return words
