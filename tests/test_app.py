"""An exported model serves where only numpy, onnxruntime and tokenizers are installed."""

import json
import subprocess
import sys
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

import compress
from compress import machine
from tests.processes import COMMANDS_IN_FORKS

TEXTS = ["a good film", "a dull mess", "", "never seen words: Żółć 漢字 🎬", "good " * 500]

# Whatever an extra installs, and what comes with it; `import` of any of them fails in the app's process.
EXTRAS = (*chain(*machine.EXTRAS.values()), "pydantic_core", "pandas")
WITHOUT_EXTRAS = f"import sys; sys.modules.update(dict.fromkeys({EXTRAS}))\n"


def run(program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False, input="")


def run_cli(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    program = "from compress.cli.main import main\nsys.exit(main())"
    return run(WITHOUT_EXTRAS + program, *arguments)


def forked_cli(commands: list[list[str]], imported: str = "compress") -> list[tuple[int, str, str]]:
    """Status, stdout and stderr of each, without the extras; what all need may be ``imported`` once."""
    program = f"{WITHOUT_EXTRAS}import {imported}\n{COMMANDS_IN_FORKS}"
    found: list[tuple[int, str, str]] = answer(program, json.dumps(commands))
    assert len(found) == len(commands)
    return found


def answer(program: str, *arguments: str | Path) -> Any:
    finished = run(program, *arguments)
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout)


def test_loading_and_answering_sends_nothing_and_leaves_nothing_in_the_home_folder(
    tiny_int8: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of onnxruntime: it keeps what it will send, and an identifier of the device, in a folder of its own there."""
    for name in ("CI", "GITHUB_ACTIONS", "TF_BUILD", "ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    answer("import compress, onnxruntime, sys; compress.load(sys.argv[1])(['a text']); print('{}')", tiny_int8)
    assert not list(tmp_path.iterdir())


def test_importing_compress_imports_nothing_heavy() -> None:
    heavy = answer("import compress, json, sys; print(json.dumps(sorted(m.split('.')[0] for m in sys.modules)))")
    assert set(heavy).isdisjoint({*EXTRAS, "onnxruntime", "tokenizers", "numpy"})


def test_help_imports_no_runtime() -> None:
    program = (
        "import contextlib, io, json, sys\n"
        "from compress.cli.main import COMMANDS, main\n"
        "def imported(*commands):\n"
        "    for command in commands:\n"
        "        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        "            main([*command, '--help'])\n"
        "    return sorted({m.split('.')[0] for m in sys.modules})\n"
        "print(json.dumps([imported([]), imported(*([name] for name in COMMANDS))]))"
    )
    overview, all_commands = answer(program)
    assert set(overview).isdisjoint({"torch", "onnxruntime", "tokenizers", "numpy"})
    assert set(all_commands).isdisjoint({"torch", "transformers", "onnxruntime", "tokenizers", "numpy"})


def test_loading_a_model_imports_what_it_needs_and_no_more(tiny_int8: Path) -> None:
    """Of Python's own too: importing one of those named here takes as long as importing compress."""
    program = (
        "import numpy, onnxruntime, tokenizers, json, sys; before = set(sys.modules)\n"
        "import compress; compress.load(sys.argv[1])(['a text'])\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    slow = {"argparse", "concurrent", "importlib.abc", "importlib.metadata", "logging", "shutil", "subprocess"}
    found = answer(program, tiny_int8)
    assert {name.split(".")[0] for name in found}.isdisjoint(EXTRAS)
    assert slow.isdisjoint(found)


@pytest.mark.parametrize("model", ["tiny_onnx", "tiny_int8"])
def test_answers_are_the_same_without_the_extras(model: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(model)
    program = WITHOUT_EXTRAS + (
        "import compress, json\n"
        "clf = compress.load(sys.argv[1], threads=1)\n"
        "texts = json.loads(sys.argv[2])\n"
        "print(json.dumps([clf.logits(texts).tolist(), [[p.label, p.score, p.scores, p.labels] for p in clf(texts)]]))"
    )
    logits, predictions = answer(program, folder, json.dumps(TEXTS))
    here = compress.load(folder, threads=1)
    assert logits == here.logits(TEXTS).tolist()
    assert predictions == [[p.label, p.score, p.scores, list(p.labels)] for p in here(TEXTS)]


def test_predict_works_without_the_extras(tiny_int8: Path) -> None:
    finished = run_cli("predict", tiny_int8, "--json", "--threads", "1", *TEXTS[:2])
    assert (finished.returncode, finished.stderr) == (0, "")
    here = compress.load(tiny_int8, threads=1)(TEXTS[:2])
    assert [(one["label"], one["score"]) for one in json.loads(finished.stdout)] == [(p.label, p.score) for p in here]


def test_doctor_works_without_the_extras_and_names_them(tiny_int8: Path) -> None:
    finished = run_cli("doctor", tiny_int8)
    assert (finished.returncode, finished.stderr) == (0, "")
    for expected in ("compress-bert[train]", "compress-bert[demo]", "torch", "int8"):
        assert expected in finished.stdout


def test_help_works_without_the_extras() -> None:
    for status, printed, errors in forked_cli([["--help"], ["predict", "--help"], ["doctor", "--help"], ["--version"]]):
        assert (status, errors) == (0, "")
        assert printed


def test_a_step_says_which_extra_to_install(tmp_path: Path) -> None:
    commands = [
        *([step, "model", "--data", "d.csv"] for step in ("finetune", "distill", "prune", "quantize", "bench")),
        ["export", "model"],
        ["run", "recipe.yaml"],
        ["demo"],
    ]
    out = ["--out", str(tmp_path / "out")]
    for status, _, errors in forked_cli([*([*command, *out] for command in commands), ["finetune", "--help"]]):
        assert status == 2, errors
        assert errors.startswith("compress: ")
        assert errors.count("\n") == 1
        assert "pip install 'compress-bert[" in errors
    assert list(tmp_path.iterdir()) == []


def test_steps_as_functions_say_what_is_missing(tmp_path: Path) -> None:
    program = WITHOUT_EXTRAS + "import compress\ncompress.export('model', sys.argv[1])"
    finished = run(program, tmp_path / "out")
    assert finished.returncode == 1
    assert "ModuleNotFoundError" in finished.stderr.splitlines()[-1]
