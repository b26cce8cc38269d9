"""The table of docs/promises.md: how often each long attack was tried, and how often it did harm, by its results."""

from collections.abc import Iterator
from typing import Any

from benchmarks.kept import RESULTS, markdown, read
from compress.clock import in_words

Row = tuple[str, str, int, dict[str, Any]]
"""What was attacked, how often, how often that did harm, and the whole result."""


def table() -> str:
    """A line for each result that is kept, and how memory behaved where that was looked at."""
    found = [*_fuzzed(), *_disturbed(), *_soaked()]
    if not found:
        return "Not yet run.\n"
    lines = [(what, tried, wrong, in_words(one["seconds"]), one["commit"]) for what, tried, wrong, one in found]
    return "\n".join([markdown([("attacked", "tried", "harm done", "took", "code"), *lines]), *_memory()]) + "\n"


def _read(name: str) -> Iterator[dict[str, Any]]:
    for path in sorted(RESULTS.glob(name)):
        yield read(path)


def _fuzzed() -> Iterator[Row]:
    for found in _read("fuzz/*.json"):
        yield f"what reads: {found['kind']}", f"{found['cases']:,} cases", sum(found["escapes"].values()), found


def _disturbed() -> Iterator[Row]:
    for found in _read("tamper.json"):
        missed = sum(len(each["missed"]) for each in found["kinds"].values())
        yield "finished folders and caches", f"{found['changes']:,} changes", missed, found
    for found in _read("faults.json"):
        operations = sum(found["operations"].values())
        yield "a run's file operations", f"{found['points']:,} of {operations:,}", found["wrong"], found
    for found in _read("rounds.json"):
        yield "commands that meet", f"{found['rounds']:,} rounds", found["wrong"], found


def _soaked() -> Iterator[Row]:
    for found in _read("soak.json"):
        loaded, service = found["loaded"], found["service"]
        asked = f"{loaded['predictions']:,} answers on {loaded['threads']} threads"
        yield "a loaded model", asked, loaded["wrong"], found | loaded
        requests, seconds = sum(service["requests"].values()), 60 * service["minutes"]
        wrong = service["wrong"] + service["failed"]
        yield "a service", f"{requests:,} requests", wrong, found | {"seconds": seconds}


def _memory() -> Iterator[str]:
    for found in _read("soak.json"):
        by_answers = found["loaded"]["memory_by_1000_predictions"]
        by_minutes = found["service"]["memory_by_minute"]
        yield (
            f"Memory grew by {_slope(by_answers)} per 1,000 answers of the loaded model and by "
            f"{_slope(by_minutes)} a minute of the service (Theil and Sen's slope, with its 95% interval, "
            "after the first fifth)."
        )


def _slope(growth: dict[str, float]) -> str:
    middle, low, high = (growth[f"slope_{part}bytes"] / 1e3 for part in ("", "low_", "high_"))
    return f"{middle:.2f} kB ({low:.2f} to {high:.2f})"
