"""Prints the results of commands to stdout, as a short text or as JSON."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.clock import in_words
from compress.errors import CompressError
from compress.formatting import megabytes
from compress.machine import is_main_process

if TYPE_CHECKING:
    from compress.doctor import Finding
    from compress.steps.step import StepResult

# The metrics that are fractions, by name: shares, and differences of shares.
_SHARE = re.compile(
    r"agreement|kept|parent|quantized|coverage|confidence|error|error_bound|max_error|handed_on|ece_(before|after)"
    r"|(.+_)?(accuracy|f1|tokens_changed|texts_changed)(_before|_at_half)?"
)
_POINTS = re.compile(r"accuracy_delta|ci95|drop|drop_bound|max_drop")


def print_result(result: "StepResult", as_json: bool) -> None:
    """Print a step's result, from only one of several processes."""
    if is_main_process():
        if as_json:
            print(json.dumps(_as_json(result), indent=2))
        elif not _print_report(result.folder):
            for name, value in result.metrics.items():
                if name != "patterns" and (shown := _shown(value, name)):
                    print(f"{name.replace('_', ' ') + ':':22} {shown}")
            if result.written:
                print(f"{'written:':22} {result.folder} in {in_words(result.seconds)}")
    _refuse_failures(result)


def print_run(results: "Mapping[str, StepResult]", folders: Sequence[Path], as_json: bool) -> None:
    """Print the results of the steps that ran, or as text the reports in the steps' ``folders`` and the last model."""
    if as_json:
        print(json.dumps({name: _as_json(result) for name, result in results.items()}, indent=2))
    else:
        for folder in folders:
            _print_report(folder)
        for folder in [folder for folder in folders if (folder / "onnx").is_dir()][-1:]:
            print(f"model:  {folder}")
    for result in results.values():
        _refuse_failures(result)


def print_findings(findings: "Iterable[Finding]", as_json: bool) -> None:
    """Print doctor's findings."""
    if as_json:
        print(json.dumps([vars(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            print(f"{'ok ' if finding.ok else 'FIX'} {finding.about:9} {finding.text}")


def _print_report(folder: Path) -> bool:
    """Print the folder's report and the path of its page; False if the folder has no report."""
    places = (folder / "report.md", folder / "report" / "report.md")
    report = next((place for place in places if place.is_file()), None)
    if report is None:
        return False
    print(report.read_text(encoding="utf-8"))
    print(f"report: {next(report.parent.glob('*.html'))}")
    return True


def _refuse_failures(result: "StepResult") -> None:
    for failure in result.metrics.get("failed", ())[:1]:
        raise CompressError(f"{failure['path']}: could not be measured, the other models were ({failure['reason']})")


def _shown(value: Any, name: str) -> str:
    """A metric on one line; empty for None and for a longer one, such as a learning curve: ``--json`` has them all."""
    if isinstance(value, dict):
        parts = {own: _shown(part, own) for own, part in value.items() if part is not None}
        return ", ".join(f"{name.replace('_', ' ')}: {part}" for name, part in parts.items() if all(parts.values()))
    if isinstance(value, list | tuple):
        nested = any(isinstance(part, dict | list | tuple) for part in value)
        return "" if nested else ", ".join(_shown(part, name) for part in value)
    if isinstance(value, int | float):
        return _number(value, name)
    return "" if value is None else str(value)


def _number(value: float, name: str) -> str:
    """A number, or a yes or no, in the unit that its metric's ``name`` calls for."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return megabytes(value) if name.endswith("bytes") else f"{value:,}"
    if _POINTS.fullmatch(name):
        return f"{100 * value:+.2f} points"
    return f"{value:.2%}" if _SHARE.fullmatch(name) else f"{value:,.6g}"


def _as_json(result: "StepResult") -> dict[str, Any]:
    """A step's result as JSON values."""
    return {**vars(result), "folder": str(result.folder)}
