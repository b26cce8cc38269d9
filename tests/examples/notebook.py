"""Runs a notebook's cells as Jupyter would, in one namespace and in a folder: python -m tests.examples.notebook.

So it needs no Jupyter. As a program it runs ``examples/tutorial.ipynb`` on the demo's models and keeps the outputs.
"""

import ast
import contextlib
import io
import json
from pathlib import Path
from typing import Any

TUTORIAL = Path(__file__).parents[2] / "examples" / "tutorial.ipynb"


def read(path: Path = TUTORIAL) -> dict[str, Any]:
    """The notebook, a JSON document of nbformat 4."""
    notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return notebook


def code_cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    """In their order."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def run(notebook: dict[str, Any], folder: Path) -> None:
    """Run all code cells in ``folder`` and put what they print, and the value of a last expression, into them."""
    names: dict[str, Any] = {"__name__": "__main__"}
    with contextlib.chdir(folder):
        for number, cell in enumerate(code_cells(notebook), 1):
            cell["execution_count"], cell["outputs"] = number, _outputs("".join(cell["source"]), names, number)


def _outputs(source: str, names: dict[str, Any], number: int) -> list[dict[str, Any]]:
    body, last = ast.parse(source), None
    if isinstance(body.body[-1], ast.Expr):
        last = ast.Expression(body.body.pop().value)  # type: ignore[attr-defined]  # it is an Expr
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(body, f"cell {number}", "exec"), names)
        value = eval(compile(last, f"cell {number}", "eval"), names) if last else None
    outputs: list[dict[str, Any]] = []
    if printed.getvalue():
        text = printed.getvalue().splitlines(keepends=True)
        outputs.append({"output_type": "stream", "name": "stdout", "text": text})
    if value is not None:
        shown = {"text/plain": repr(value).splitlines(keepends=True)}
        outputs.append({"output_type": "execute_result", "execution_count": number, "metadata": {}, "data": shown})
    return outputs


def main() -> None:
    """Run the tutorial where it lies, beside ``runs/demo``, and write it with its outputs."""
    notebook = read()
    run(notebook, TUTORIAL.parent)
    TUTORIAL.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
