"""What speaks against believing the figures, in words for the top of the report."""

from collections.abc import Mapping, Sequence
from typing import Any

from compress.benchmark.contention import Busy
from compress.benchmark.report import formatting
from compress.benchmark.workload import relative_width

_BUSY_CPUS = 0.1
_WIDE = 0.1


def warnings_of(entries: Sequence[Mapping[str, Any]], chosen: str, busy: Busy | None) -> list[str]:
    """Warnings, none for a quiet machine and a headline that the measuring bears out.

    Args:
        entries: those of results.json.
        chosen: the recommended model, whose speed-up is the headline.
        busy: what other processes did meanwhile.
    """
    found = []
    if busy is not None and busy.other_cpus > _BUSY_CPUS:
        found.append(
            f"The machine was busy: other processes took {busy.other_cpus:.1f} of its {busy.cpus} CPUs while the times"
            " were measured. Stop them and measure again before you rely on the times."
        )
    entry = next(entry for entry in entries if entry["name"] == chosen)
    interval = entry["versus_first"].get("speedup_ci95")
    if entry is not entries[0] and interval is not None and relative_width(interval) > _WIDE:
        found.append(
            f"The speed-up of {chosen} is uncertain: its 95% interval is {formatting.times(interval[0])} to"
            f" {formatting.times(interval[1])}. Measure again with more --seconds."
        )
    return found
