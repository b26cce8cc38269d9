"""The commands of README and docs do what is said of them: each is run once, in its order, on a tiny model and data.

By default those that docs/start.md begins with; with ``make test-all`` all of them.
"""

import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import pytest

from compress.cli.main import main
from tests.conftest import FILLERS, WORDS
from tests.serving.service import serving

ROOT = Path(__file__).parents[1]
_NAV = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2]
DOCUMENTS = [ROOT / "README.md", *(ROOT / "docs" / name for name in re.findall(r"(\S+\.md)$", _NAV, re.MULTILINE))]

# The documents speak of real models; these make the same commands fit a tiny one. Each must stand in a document.
SMALLER = {
    "--hidden-size 192 --heads 6 --ffn-size 768": "--hidden-size 32 --heads 2 --ffn-size 64",
    "--hidden-size 256": "--hidden-size 48",
    "--max-error 2": "--max-error 99.5",  # of seven texts, six may be answered wrong
    "--target-latency-ms 0.8": "--target-latency-ms {reachable_ms}",
}
ROWS = 100
QUICKER = {
    "bench": ["--seconds", "0.1"],
    "distill": ["--epochs", "1"],
    "finetune": ["--epochs", "1"],
    "check": ["--no-speed", "--max-drop", "100"],
}
QUICKER_RECIPE = {
    "epochs: 3": "epochs: 1",
    "layers: 3": "layers: 3, epochs: 1",
    "max_drop: 1.0": "max_drop: 100",
    "{step: bench,": "{step: bench, seconds: 0.1,",
}
RECIPE = re.compile(r"```yaml\n(.*?)```", re.DOTALL)


def commands(documents: Sequence[Path]) -> list[str]:
    """The ``compress ...`` lines of all shell blocks, without comments, each once however it is spaced."""
    texts = (path.read_text(encoding="utf-8") for path in documents)
    blocks = (block for text in texts for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL))
    lines = (line.partition("#")[0].split() for block in blocks for line in block.splitlines())
    return list(dict.fromkeys(" ".join(words) for words in lines if words[:1] == ["compress"]))


@pytest.fixture
def workplace(tmp_path: Path, tiny_encoder: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the documents suppose, with their data, their recipe and a checkpoint."""
    lines = (tiny_data / "train.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines[:ROWS]]
    reviews = "".join(f"{row['text']},{row['label']}\n" for row in rows)
    (tmp_path / "reviews.csv").write_text("text,label\n" + reviews, encoding="utf-8")
    (tmp_path / "texts.csv").write_text("text\n" + "".join(f"{row['text']}\n" for row in rows), encoding="utf-8")
    more = (f"{word} {filler}" for word in WORDS["positive"] for filler in FILLERS)
    (tmp_path / "more.txt").write_text("\n".join(more) + "\n", encoding="utf-8")
    answers = (json.dumps({"text": row["text"], "answer": row["label"]}) for row in rows)
    (tmp_path / "answers.jsonl").write_text("\n".join(answers) + "\n", encoding="utf-8")
    for model in ("bert-base-uncased", "small-bert"):
        (tmp_path / model).symlink_to(tiny_encoder)
    (recipe,) = RECIPE.findall("".join(path.read_text(encoding="utf-8") for path in DOCUMENTS))
    for words, quicker in QUICKER_RECIPE.items():
        assert words in recipe
        recipe = recipe.replace(words, quicker)
    (tmp_path / "recipe.yaml").write_text(recipe, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def reachable_ms(capsys: pytest.CaptureFixture[str]) -> float:
    """A latency that pruning the teacher reaches: what a dry run planned for a goal that is reached."""
    capsys.readouterr()
    assert main(shlex.split("prune teacher --data reviews.csv --speedup 1.2 --dry-run --json --out planned")) == 0
    return float(json.loads(capsys.readouterr().out)["metrics"]["latency_ms"]) * 1.05


def test_what_is_made_smaller_stands_in_a_document() -> None:
    lines = commands(DOCUMENTS)
    assert all(any(words in line for line in lines) for words in SMALLER)


FIRST = {"teacher", "student", "small"}
EVERY = FIRST | {"pruned", "onnx", "int8", "report", "app", "runs/reviews"}


@pytest.mark.parametrize(
    ("documents", "expected"),
    [([ROOT / "docs" / "start.md"], FIRST), pytest.param(DOCUMENTS, EVERY, marks=pytest.mark.slow)],
    ids=["start", "every"],
)
@pytest.mark.usefixtures("quick_table", "forked_workers")
def test_every_command_runs(
    documents: list[Path], expected: set[str], workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = commands(documents)
    for line in lines:
        for words, smaller in SMALLER.items():
            if words in line:
                line = line.replace(words, smaller)  # noqa: PLW2901 - the same command
        if "{reachable_ms}" in line:
            line = line.format(reachable_ms=reachable_ms(capsys))  # noqa: PLW2901
        _, step, *arguments = shlex.split(line)
        if step == "serve":
            with serving(arguments[0]):  # until it says that it listens, on any port that is free
                continue
        if "--out" in arguments and (workplace / arguments[arguments.index("--out") + 1]).exists():
            arguments.append("--overwrite")
        if step == "quantize":
            arguments += ["--max-drop", "100"]  # a validation text of ten may be lost
        assert main([step, *arguments, *QUICKER.get(step, [])]) == 0, (line, capsys.readouterr().err)
    written = (line.partition("--out ")[2].split() for line in lines if "--dry-run" not in line)
    made = {words[0] for words in written if words}
    assert expected <= made
    assert [name for name in made if not (workplace / name).exists()] == []
