"""Splits made from rows that have none: deterministic, stratified by label, and without leaks."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from compress.data.groups import Ints, identical, kindred
from compress.progress import say_before_work
from compress.runtime.encoding import Text

Labels = Sequence[tuple[str, ...]]


def hold_out(texts: Sequence[Text], labels: Labels, sizes: Sequence[int], seed: int) -> list[list[int]]:
    """Choose rows for held-out splits of about the given sizes.

    Groups of kindred texts move as a whole (see :mod:`compress.data.groups`). Where they are too large to fill at least
    half of a split, only texts of the same words are kept together. The last row of a label is never taken.

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
    left = {int(group): rows for group, rows in enumerate(_members(group_of))}
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
    """The rarest label of each row stands for the row; for a single-label task it is the label."""
    counts = Counter(label for row in labels for label in row)
    return [min(row, key=lambda label: (counts[label], label), default="") for row in labels]


def _quotas(counts: Counter[str], size: int) -> Counter[str]:
    """``size`` rows shared among the strata in proportion, by largest remainders, leaving one row of each."""
    spare = {stratum: count - 1 for stratum, count in counts.items() if count > 1}
    size = min(size, sum(spare.values()))
    exact = {stratum: size * count / sum(spare.values()) for stratum, count in spare.items()}
    quota = Counter({stratum: int(share) for stratum, share in exact.items()})
    by_remainder = sorted(exact, key=lambda stratum: (quota[stratum] - exact[stratum], stratum))
    quota.update(by_remainder[: size - quota.total()])
    return quota


def _members(group_of: Ints) -> Iterator[list[int]]:
    """The rows of group 0, of group 1, and so on."""
    order = np.argsort(group_of, kind="stable")
    ends = np.cumsum(np.bincount(group_of))
    return (rows.tolist() for rows in np.split(order, ends[:-1]))
