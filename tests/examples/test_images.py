"""The containers of ``examples/`` answer as a user without rights, and are small. Minutes, and a package index."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import compress
from tests.examples.image import run_image
from tests.tiny import STORED_RUN

ROOT = Path(__file__).parents[2]
MODEL = STORED_RUN / "int8"
MOST_BYTES = 200_000_000
TEXTS = ["a good film", "a dull mess"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("unshare") is None,
        reason="needs Linux, as root",
    ),
]


def test_the_base_install_answers_and_is_small(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    shutil.copytree(MODEL, tmp_path / "model")
    subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", tmp_path, ROOT], check=True)
    program = f"""
    echo $(($(du -sb $root/image | cut -f1) - size_before)); $inside id -u
    printf '%s\\n' {shlex.join(TEXTS)} | $inside env PYTHONVERBOSE=1 "$@" 2> $work/said
    grep -c 'could not create' $work/said || true
    """
    told = run_image(ROOT / "examples/container/Dockerfile", tmp_path, tmp_path / "work", program)
    installed_bytes, user, *answers, compiled_at_each_start = told.splitlines()
    assert int(installed_bytes) < MOST_BYTES
    assert user != "0"
    with compress.load(MODEL) as classifier:
        assert [line.split("\t")[0] for line in answers] == [answer.label for answer in classifier(TEXTS)]
    assert compiled_at_each_start == "0"  # each start would take twice as long


def test_the_service_answers(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "examples" / "service").mkdir(parents=True)
    shutil.copytree(MODEL, tmp_path / "examples" / "service" / "model")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "compress", tmp_path / "compress")
    program = f"""
    $inside id -u
    $inside "$@" --port 18431 >&2 & service=$!
    for wait in $(seq 600); do curl -sf localhost:18431/readyz > $work/ready && break; sleep 0.1; done
    curl -s localhost:18431/classify -H 'content-type: application/json' -d '{json.dumps({"texts": TEXTS})}'
    kill $service; wait $service
    """
    told = run_image(ROOT / "examples/service/Dockerfile", tmp_path, tmp_path / "work", program)
    user, answers = told.splitlines()
    assert user != "0"
    with compress.load(MODEL) as classifier:
        assert [one["label"] for one in json.loads(answers)] == [answer.label for answer in classifier(TEXTS)]
