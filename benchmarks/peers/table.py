"""The peers' table and what its plot is drawn from."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.kept import markdown
from benchmarks.peers.registry import TEACHER
from compress.formatting import megabytes

Row = Mapping[str, Any]
_OURS = "compress "
_FRONT_POINTS, _CLOSE_POINTS = 2.0, 1.0


def table(results: Mapping[str, Any]) -> str:
    """The plot, for a page beside it; all that ran, the fastest first; who is beyond our front; who did not run."""
    ran = sorted((row for row in results["peers"] if "failed" not in row), key=lambda row: float(row["p50_ms"]))
    heads = [
        "tool",
        "accuracy",
        "points (95%)",
        "p50 ms (rounds)",
        "p95 ms",
        "times ours",
        "size",
        "memory",
        "cold start",
    ]
    failed = [f"{_with_versions(row)}: {row['failed']}" for row in results["peers"] if "failed" in row]
    untried = [f"{name}: {why}" for name, why in results["not_tried"].items()]
    return (
        "![Accuracy against latency of all tools](peers.svg)\n\n"
        + markdown([heads, *map(_cells, ran)])
        + f"\n{_conditions(results)}\n\n{verdict(ran)}\n"
        + "".join(f"\n- Failed with our script: {one}" for one in failed)
        + "".join(f"\n- Not tried: {one}" for one in untried)
        + "\n"
    )


def verdict(ran: Sequence[Row]) -> str:
    """Which peers our front does not cover, and the fastest peer at a point lost beside the fastest of ours."""
    ours = [row for row in ran if is_ours(row)]
    peers = [row for row in ran if not is_ours(row)]
    beyond = [row for row in peers if row["points"] >= -_FRONT_POINTS and not any(_covers(one, row) for one in ours)]
    slowest_ms = max(row["p50_ms"] for row in ours)
    beating, slower = ([row for row in beyond if (row["p50_ms"] > slowest_ms) is late] for late in (False, True))
    said = []
    if beating:
        said.append(f"**Beyond our front up to 2 points lost: {_listed(beating)}.**")
    if slower:
        said.append(f"More accurate than ours here, and slower: {_listed(slower)}.")
    if not beyond:
        said.append("No peer is on or beyond our front up to 2 points lost.")
    return " ".join([*said, *_within_a_point(ours, peers)])


def _within_a_point(ours: Sequence[Row], peers: Sequence[Row]) -> Iterator[str]:
    """``ours`` and ``peers`` are the fastest first."""
    close = [next((row for row in some if row["points"] >= -_CLOSE_POINTS), None) for some in (ours, peers)]
    if not close[0]:
        best = max(ours, key=lambda row: float(row["points"]))
        which = "The one model of ours measured here" if len(ours) == 1 else f"The best of our {len(ours)} models here"
        yield f"{which} loses {-best['points']:.1f} points against the teacher."
    elif close[1]:
        ratio = close[1]["p50_ms"] / close[0]["p50_ms"]
        yield f"Up to 1 point lost, the fastest peer is {close[1]['name']}: {ratio:.1f} times {close[0]['name']}."


def _listed(rows: Sequence[Row]) -> str:
    return ", ".join(f"{row['name']} ({row['points']:+.1f} points, {row['p50_ms']:.2f} ms)" for row in rows)


def entries(results: Mapping[str, Any]) -> tuple[list[Row], str]:
    """For the report's chart of accuracy against latency: its models, and the name of the first of ours."""
    found: list[Row] = [
        {
            "name": row["name"],
            "accuracy": {"value": row["accuracy"], "ci95": row["accuracy_ci95"]},
            "answer_p50_ms": row["p50_ms"],
            "answer_p50_ci95": [min(row["p50_ms_of_rounds"]), max(row["p50_ms_of_rounds"])],
            "versus_first": {"speedup_p50": 1.0},
        }
        for row in results["peers"]
        if "failed" not in row
    ]
    return found, next(str(row["name"]) for row in results["peers"] if is_ours(row))


def is_ours(row: Row) -> bool:
    """Whether it is a folder of ours."""
    return str(row["name"]).startswith(_OURS)


def _covers(ours: Row, peer: Row) -> bool:
    return bool(ours["accuracy"] >= peer["accuracy"] and ours["p50_ms"] < peer["p50_ms"])


def _cells(row: Row) -> list[str]:
    low, high = row["points_ci95"]
    slow, fast = max(row["p50_ms_of_rounds"]), min(row["p50_ms_of_rounds"])
    return [
        f"**{row['name']}**" if is_ours(row) else row["name"],
        f"{row['accuracy']:.1%}",
        "" if row["name"] == TEACHER.name else f"{row['points']:+.1f} ({low:+.1f} to {high:+.1f})",
        f"{row['p50_ms']:.2f} ({fast:.2f} to {slow:.2f})",
        f"{row['p95_ms']:.2f}",
        f"{row['times_ours']:.1f}",
        megabytes(row["size_bytes"]),
        megabytes(row["peak_bytes"]),
        f"{row['cold_start_s']:.1f} s",
    ]


def _conditions(results: Mapping[str, Any]) -> str:
    machine = results["machine"]
    return (
        f"{results['texts']} test texts, one at a time, from text to label, {results['threads']} threads, "
        f"medians of {results['rounds']} rounds in turns; each tool by its documented best settings. "
        f"{machine['cpu']} ({', '.join(machine['cpu_flags'])}).{_other_runtimes(results)}"
    )


def _other_runtimes(results: Mapping[str, Any]) -> str:
    """Which tools had another onnxruntime than ours."""
    ours = f"onnxruntime=={results['machine']['versions']['onnxruntime']}"
    found = [
        f"{row['name']} ran on {package.replace('==', ' ')}"
        for row in results["peers"]
        for package in row["packages"]
        if package.startswith("onnxruntime==") and package != ours
    ]
    return f" {', '.join(found)}, the others on {ours.partition('==')[2]}." if found else ""


def _with_versions(row: Row) -> str:
    packages = ", ".join(package.replace("==", " ") for package in row["packages"])
    return f"{row['name']} ({packages})" if packages else str(row["name"])
