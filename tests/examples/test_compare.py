"""The comparison of two folders says what both say."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import compress
from compress.modeling.checkpoint import save_checkpoint
from tests.tiny import make_bert, make_checkpoint, read

COMPARE = Path(__file__).parents[2] / "examples" / "compare.py"


def compare(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, COMPARE, *map(str, arguments)], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def texts(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("texts") / "texts.txt"
    chosen = [str(text) for text in read(tiny_data).test.texts]
    path.write_text("\n".join([*chosen, "", "good bad", "bad good awful great"]) + "\n", encoding="utf-8")
    return path


def test_a_model_agrees_with_its_export(tiny_torch: Path, tiny_onnx: Path, texts: Path) -> None:
    finished = compare(tiny_torch, tiny_onnx, texts)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.startswith("62 texts; the same label on 100.0%, another on 0\n")
    (teacher, sure), (student, as_sure) = re.findall(r"(\S+) ms a text; mean score (\S+),", finished.stdout)
    assert float(teacher) > 0 < float(student)
    assert float(sure) == pytest.approx(float(as_sure), abs=1e-3)
    assert "teacher: " in finished.stdout


def test_what_they_disagree_on_is_shown_the_surest_first(
    tiny_onnx: Path, tiny_encoder: Path, texts: Path, tmp_path: Path
) -> None:
    save_checkpoint(make_checkpoint(tiny_encoder, make_bert(seed=1), ("negative", "positive")), tmp_path / "torch")
    compress.export(tmp_path / "torch", tmp_path / "onnx", threads=1)
    asked = texts.read_text(encoding="utf-8").split("\n")[:-1]
    asked.remove("")
    one, other = (compress.load(folder)(asked) for folder in (tiny_onnx, tmp_path / "onnx"))
    differing = [n for n in range(len(asked)) if one[n].label != other[n].label]
    assert 0 < len(differing) < len(asked)
    first = max(differing, key=lambda n: min(one[n].score, other[n].score))
    teacher, student = (f"{found[first].label} {found[first].score:.2f}" for found in (one, other))
    finished = compare(tiny_onnx, tmp_path / "onnx", texts, "--show", 1)
    assert f"another on {len(differing)}\n" in finished.stdout
    shown = finished.stdout.rstrip("\n").split("\n")[-2:]
    assert shown == [asked[first], f"    teacher: {teacher}    student: {student}"]


def test_no_texts_are_refused(tiny_onnx: Path, tmp_path: Path) -> None:
    (tmp_path / "none.txt").write_text("\n \n", encoding="utf-8")
    finished = compare(tiny_onnx, tiny_onnx, tmp_path / "none.txt")
    assert finished.returncode == 1
    assert finished.stderr == f"{tmp_path / 'none.txt'}: has no texts; put one on each line\n"
