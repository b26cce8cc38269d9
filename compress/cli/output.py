"""A step's result on stdout: at a glance, or as JSON."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.clock import in_words
from compress.machine import is_main_process

if TYPE_CHECKING:
    from compress.steps.step import StepResult


def print_report(folder: Path) -> None:
    """A report as text, and where its page is."""
    print((folder / "report.md").read_text(encoding="utf-8"))
    print(f"report: {folder / 'report.html'}")


def print_result(result: "StepResult", in_json: bool) -> None:
    """What a step found, from one process of several."""
    if not is_main_process():
        return
    if in_json:
        print(json.dumps(as_json(result), indent=2))
    elif (result.folder / "report.md").is_file():
        print_report(result.folder)
    else:
        for name, value in result.metrics.items():
            if shown := _shown(value):
                print(f"{name.replace('_', ' ') + ':':22} {shown}")
        if result.written:
            print(f"{'written:':22} {result.folder} in {in_words(result.seconds)}")


def _shown(value: Any) -> str:
    """A metric on one line; what is longer, such as a learning curve, is empty and for ``--json``."""
    if isinstance(value, dict):
        parts = {name: _shown(part) for name, part in value.items()}
        return (
            ", ".join(f"{name.replace('_', ' ')}: {part}" for name, part in parts.items())
            if all(parts.values())
            else ""
        )
    if isinstance(value, list | tuple):
        parts_shown = [_shown(part) for part in value if not isinstance(part, dict | list | tuple)]
        return ", ".join(parts_shown) if len(parts_shown) == len(value) else ""
    return f"{value:,.6g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def as_json(result: "StepResult") -> dict[str, Any]:
    """All that a step found."""
    return {**vars(result), "folder": str(result.folder)}
