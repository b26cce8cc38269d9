"""What is written about the project agrees with the project."""

import ast
import re
import unicodedata
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from benchmarks.kept import RESULTS, read
from benchmarks.tables import DOCUMENTS, README, ROOT, report_of_today, stale
from compress.benchmark.report.page import as_markdown
from compress.cli.main import COMMANDS, main
from compress.steps.spec import STEPS

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
NAV = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2]
_FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")


def test_tables_plot_and_reference_are_as_results_and_code_say() -> None:
    assert "<!-- results: demo -->" in README.read_text(encoding="utf-8")
    assert [path.relative_to(ROOT).as_posix() for path in stale()] == [], "run make tables"


def test_older_reports_are_shown_with_intervals_of_todays_method_where_they_keep_the_flips() -> None:
    today = read(RESULTS / "demo.json")
    assert report_of_today(today) == as_markdown(today)
    older = read(RESULTS / "demo.json")
    for entry in older["models"][1:]:
        entry["versus_first"]["ci95"] = [-0.001, 0.001]
    shown = report_of_today(older)
    assert shown.startswith(as_markdown(today))
    assert "today's method" in shown
    for entry in older["models"]:
        del entry["flips"]
    assert report_of_today(older) == as_markdown(older)


def test_commands_of_the_documents_parse(capsys: pytest.CaptureFixture[str]) -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)
    told = re.findall(r"^(?:\$ |torchrun .*-m )?compress (\w+)(.*?)(?:#|$)", text, re.MULTILINE)
    assert COMMANDS.keys() <= {command for command, _ in told}
    helps = {command: _help(command, capsys) for command in COMMANDS}
    for command, rest in told:
        for flag in re.findall(r"--[\w-]+", rest):
            assert flag in helps[command], f"compress {command} has no {flag}"


def test_flags_that_step_pages_explain_exist(capsys: pytest.CaptureFixture[str]) -> None:
    """In the first column of a step page's table of settings."""
    for command in COMMANDS.keys() - {"demo", "doctor"}:
        page = (DOCS / "steps" / f"{command}.md").read_text(encoding="utf-8")
        known = _help(command, capsys)
        for flag in re.findall(r"--[\w-]+", "".join(re.findall(r"^\| (`[^|]*) \|", page, re.MULTILINE))):
            assert flag in known, f"steps/{command}.md tells of {flag}"


def test_links_and_anchors_of_the_documents_lead_somewhere() -> None:
    for document in (*ROOT.glob("*.md"), *PAGES):
        for target, anchor in _LINK.findall(_prose(document)):
            path = (document.parent / target).resolve() if target else document
            where = f"{document.relative_to(ROOT)} links to {target}#{anchor}"
            assert path.exists(), where
            assert DOCS not in document.parents or DOCS in path.parents, f"{where}, which the site does not have"
            assert not anchor or anchor in _anchors(path), where


def test_files_of_the_repository_that_the_documents_name_exist() -> None:
    for document in DOCUMENTS:
        for name in re.findall(r"`((?:benchmarks|compress|examples|tests)/[\w/.-]+)`", _prose(document)):
            assert (ROOT / name).exists(), f"{document.relative_to(ROOT)} names {name}"


def test_every_page_is_in_the_navigation_once_and_linked_to() -> None:
    listed = Counter(re.findall(r"(\S+\.md)$", NAV, re.MULTILINE))
    assert listed == Counter(page.relative_to(DOCS).as_posix() for page in PAGES)
    linked = {(page.parent / target).resolve() for page in DOCUMENTS for target, _ in _LINK.findall(_prose(page))}
    assert not {page for page in PAGES if page not in linked}, "no page links there"


def test_every_step_has_a_page() -> None:
    assert {*STEPS, "auto", "check", "predict", "serve", "run"} == {page.stem for page in (DOCS / "steps").iterdir()}


def test_messages_that_troubleshooting_explains_are_said() -> None:
    sources = (ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "compress").rglob("*.py"))
    constants = (node.value for tree in sources for node in ast.walk(tree) if isinstance(node, ast.Constant))
    said = [value for value in constants if isinstance(value, str)]
    page = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    headings = re.findall(r"^### (`.+`)$", page, re.MULTILINE)
    explained = [message for heading in headings for message in re.findall("`([^`]+)`", heading)]
    assert len(explained) >= 20
    assert [message for message in explained if not any(message in value for value in said)] == []


def test_the_readme_is_short() -> None:
    """Two screens and its tables, whose lines are long but few."""
    assert len(README.read_text(encoding="utf-8").splitlines()) < 130


def _prose(document: Path) -> str:
    return _FENCED.sub("", document.read_text(encoding="utf-8"))


def _anchors(page: Path) -> set[str]:
    """The headings' anchors, as Python-Markdown and GitHub make them of plain words."""
    found = set()
    for heading in re.findall(r"^#+ (.+)$", _prose(page), re.MULTILINE):
        plain = unicodedata.normalize("NFKD", heading.replace("`", "")).encode("ascii", "ignore").decode()
        found.add(re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower()))
    return found


def _help(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    with suppress(SystemExit):
        main([command, "--help"])
    return capsys.readouterr().out
