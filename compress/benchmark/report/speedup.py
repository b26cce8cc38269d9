"""Speed-ups as the report writes them: the number where its interval is narrow, else the interval alone."""

from collections.abc import Mapping
from typing import Any

from compress.benchmark.report.formatting import compared, times

_CARRIED = 0.15


def can_be_stated(change: Mapping[str, Any]) -> bool:
    """Whether a speed-up's 95% interval lies within 15% of it; ``change`` is a model's ``versus_first``.

    Documents of before 0.2 have no interval, and their speed-ups are taken as they are.
    """
    interval, ratio = change.get("speedup_ci95"), change["speedup_p50"]
    return interval is None or ratio * (1 - _CARRIED) <= interval[0] <= interval[1] <= ratio * (1 + _CARRIED)


def speedup(change: Mapping[str, Any]) -> str:
    """``8.1x``, or ``75.6x to 1674x`` where the number cannot be stated."""
    if can_be_stated(change):
        return times(change["speedup_p50"])
    return " to ".join(times(bound) for bound in change["speedup_ci95"])


def speedup_words(change: Mapping[str, Any]) -> str:
    """``8.1x faster``, or the interval and what to do about it."""
    if can_be_stated(change):
        return compared(change["speedup_p50"], "faster", "slower", "as fast")
    return f"{speedup(change)} the speed (too uncertain: measure again)"
