"""The table of ``models/README.md``: every published model, the fastest of a data set last."""

import json
from typing import Any

from benchmarks.kept import markdown
from benchmarks.models.publish import FIGURES, MODELS
from benchmarks.models.recipe import DATA_SETS
from compress.formatting import milliseconds, percent, percents, points, points_range, times

README = MODELS / "README.md"
_HEADS = ("model", "on test (95%)", "against the teacher, points (95%)", "text to answer", "against fp32 PyTorch")
_MORE = ("against the teacher's int8", "size", "in the repository")


def published_models() -> list[str]:
    """Their names, such as ``banking77/balanced``."""
    return sorted(path.parent.relative_to(MODELS).as_posix() for path in MODELS.rglob(FIGURES))


def table() -> str:
    """A line a model; what its figures were measured on is on its card."""
    found = {name: json.loads((MODELS / name / FIGURES).read_text(encoding="utf-8")) for name in published_models()}
    if not found:
        return "None is published yet.\n"
    order = sorted(found, key=lambda name: (name.partition("/")[0], -found[name]["model"]["answer_p50_ms"]))
    heads = [*_HEADS, *_MORE]
    return markdown([heads, *(_cells(name, found[name]) for name in order)])


def data_sets() -> str:
    """What the folder of each data set must hold, and whose it is."""
    return "".join(f"- `{name}`: {what}\n" for name, what in DATA_SETS.items())


def _cells(name: str, figures: Any) -> list[str]:
    model, change, int8 = figures["model"], figures["versus_teacher"], figures["teacher_int8"]
    return [
        f"[{name}]({name}/README.md)",
        f"{percent(model['accuracy']['value'])} ({percents(model['accuracy']['ci95'])})",
        f"{points(change['accuracy_delta'])} ({points_range(change['ci95'])})",
        milliseconds(model["answer_p50_ms"]),
        times(change["speedup_answer"]),
        times(int8["answer_p50_ms"] / model["answer_p50_ms"]) if int8 else "not measured",
        f"{model['size_bytes'] / 1e6:.1f} MB",
        "yes" if figures["kept"] else "its recipe",
    ]
