"""The comparison of two folders says what both say."""

import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import compress
from compress.modeling.checkpoint import save_checkpoint
from tests.tiny import make_bert, make_checkpoint, read

COMPARE = Path(__file__).parents[2] / "examples" / "compare.py"


@pytest.fixture
def compare(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """The program, in this process, which has imported PyTorch; what it prints."""

    def run(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", [str(COMPARE), *map(str, arguments)])
        capsys.readouterr()
        runpy.run_path(str(COMPARE), run_name="__main__")
        return capsys.readouterr().out

    return run


@pytest.fixture(scope="module")
def texts(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("texts") / "texts.txt"
    chosen = [str(text) for text in read(tiny_data).test.texts]
    path.write_text("\n".join([*chosen, "", "good bad", "bad good awful great"]) + "\n", encoding="utf-8")
    return path


def test_a_model_agrees_with_its_export(
    compare: Callable[..., str], tiny_torch: Path, tiny_onnx: Path, texts: Path
) -> None:
    printed = compare(tiny_torch, tiny_onnx, texts)
    assert printed.startswith("62 texts; the same label on 100.0%, another on 0\n")
    (teacher, sure), (student, as_sure) = re.findall(r"(\S+) ms a text; mean score (\S+),", printed)
    assert float(teacher) > 0 < float(student)
    assert float(sure) == pytest.approx(float(as_sure), abs=1e-3)
    assert "teacher: " in printed


def test_what_they_disagree_on_is_shown_the_surest_first(
    compare: Callable[..., str], tiny_onnx: Path, tiny_encoder: Path, texts: Path, tmp_path: Path
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
    printed = compare(tiny_onnx, tmp_path / "onnx", texts, "--show", 1)
    assert f"another on {len(differing)}\n" in printed
    shown = printed.rstrip("\n").split("\n")[-2:]
    assert shown == [asked[first], f"    teacher: {teacher}    student: {student}"]


def test_no_texts_are_refused(compare: Callable[..., str], tiny_onnx: Path, tmp_path: Path) -> None:
    (tmp_path / "none.txt").write_text("\n \n", encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        compare(tiny_onnx, tiny_onnx, tmp_path / "none.txt")
    assert ended.value.code == f"{tmp_path / 'none.txt'}: has no texts; put one on each line"
