"""What an attack or a benchmark found, with when, on what code and machine: printed, and kept if that is asked for."""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from compress.clock import Stopwatch
from compress.machine import describe_machine


def add_keep(parser: argparse.ArgumentParser) -> None:
    """Let the command say where its result is kept."""
    parser.add_argument("--keep", type=Path, metavar="FILE", help="write the result there, as JSON")


def commit() -> str | None:
    """The commit of this checkout, with ``-dirty`` after it where files were changed since; None outside of git."""
    command = ["git", "describe", "--always", "--dirty", "--exclude", "*", "--abbrev=12"]
    try:
        return subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


class Record:
    """Counts the seconds from its creation, which is the start of it."""

    def __init__(self, threads: int = 1) -> None:
        self._about = {
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": commit(),
            "machine": describe_machine([threads]),
        }
        self._watch = Stopwatch()

    def tell(self, found: Mapping[str, Any], keep: Path | None) -> None:
        """Print what was found as JSON, and write it to ``keep``."""
        document = json.dumps({**self._about, "seconds": round(self._watch.seconds, 1), **found}, indent=1) + "\n"
        sys.stdout.write(document)
        if keep:
            keep.write_text(document, encoding="utf-8")
