"""What textbrewer_speed.py needs before it starts: TextBrewer in an environment of its own, and the texts."""

import csv
import json
import random
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PEER = ROOT / ".peers" / "textbrewer"
_WARM_UP_TEXTS, _VALIDATION_TEXTS = 256, 500


def write_data(source: Path, texts: int, folder: Path) -> None:
    """Folders ``all``, with ``texts`` random train phrases, and ``warm-up`` with fewer; others are for validation."""
    with (source / "train.tsv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    if len(rows) < texts + _VALIDATION_TEXTS:
        raise SystemExit(f"--texts must be at most {len(rows) - _VALIDATION_TEXTS} of {source}, got {texts}")
    random.Random(0).shuffle(rows)
    held_out = rows[-_VALIDATION_TEXTS:]
    for name, count in {"all": texts, "warm-up": _WARM_UP_TEXTS}.items():
        (folder / name).mkdir()
        for split, some in {"train": rows[:count], "validation": held_out, "test": held_out}.items():
            found = (json.dumps({"text": row["sentence"], "label": row["label"]}) + "\n" for row in some)
            (folder / name / f"{split}.jsonl").write_text("".join(found), encoding="utf-8")


def make_peer() -> None:
    """TextBrewer in an environment of its own, with the versions of everything else that compress is tested with."""
    done = PEER / ".done"
    if done.is_file():
        return
    print(f"installing TextBrewer into {PEER}", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", PEER], check=True)
    install: list[str | Path] = [PEER / "bin" / "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt"]
    # torch first and alone, as in the Makefile, so that pip takes the build that constraints.txt names.
    for packages in (["torch"], ["transformers", "textbrewer==0.2.1.post1"]):
        subprocess.run([*install, *packages], check=True)
    done.touch()
