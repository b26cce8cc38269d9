"""What is written about the project agrees with the project."""

import re
from contextlib import suppress
from pathlib import Path

import pytest

from benchmarks.tables import README, with_tables
from compress.cli.main import main

ROOT = Path(__file__).parents[1]


def test_tables_of_the_readme_are_as_their_results_say() -> None:
    text = README.read_text(encoding="utf-8")
    assert "<!-- results: demo -->" in text
    assert with_tables(text) == text


def test_commands_of_the_readme_parse(capsys: pytest.CaptureFixture[str]) -> None:
    text = README.read_text(encoding="utf-8")
    commands = set(re.findall(r"^compress (\w+)", text, re.MULTILINE))
    assert {"finetune", "distill", "prune", "export", "quantize", "bench", "predict", "doctor", "run"} <= commands
    flags = re.findall(r"^compress (\w+)(.*?)(?:#|$)", text, re.MULTILINE)
    for command, rest in flags:
        for flag in re.findall(r"--[\w-]+", rest):
            assert flag in _help(command, capsys), f"compress {command} has no {flag}"


def test_links_of_the_documents_lead_somewhere() -> None:
    for document in ROOT.glob("*.md"):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def _help(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    with suppress(SystemExit):
        main([command, "--help"])
    return capsys.readouterr().out
