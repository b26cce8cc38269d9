"""Memory of ``compress predict`` over a stream of lines: python -m benchmarks.predict_lines MODEL [LINES].

Feeds so many lines (default: 1,000,000; texts of 1 to 20 words) through stdin and reads the JSONL as it comes. Every
50,000 lines a row says what the process holds (``RssAnon``). Fails if that grows by more than 20 MB after the first
row, or if an answer is missing or is about another line.
"""

import json
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

WORDS = ("a", "the", "film", "story", "is", "was", "very", "and", "with", "good", "bad", "awful", "great", "dull")
EVERY = 50_000
GROWS_AT_MOST_MB = 20.0


def main() -> None:
    """A row for every 50,000 lines on stdout."""
    model, lines = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
    command = [sys.executable, "-m", "compress", "predict", model, "--format", "jsonl"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8") as child:
        assert child.stdin is not None
        assert child.stdout is not None
        threading.Thread(target=feed, args=(child.stdin, lines), daemon=True).start()
        held_mb: list[float] = []
        for answered, (expected, line) in enumerate(zip(texts(lines), child.stdout, strict=True), start=1):
            if json.loads(line)["text"] != expected:
                raise SystemExit(f"line {answered}: answered {line!r}, asked {expected!r}")
            if answered % EVERY == 0 or answered == EVERY // 10:
                held_mb.append(anonymous_bytes(child.pid) / 1e6)
                print(json.dumps({"lines": answered, "rss_anon_mb": round(held_mb[-1], 1)}), flush=True)
                if held_mb[-1] > held_mb[0] + GROWS_AT_MOST_MB:
                    raise SystemExit(f"line {answered}: holds {held_mb[-1]:.1f} MB, at first {held_mb[0]:.1f} MB")


def feed(stdin: IO[str], lines: int) -> None:
    """All lines, then the end."""
    with stdin:
        stdin.writelines(f"{text}\n" for text in texts(lines))


def texts(count: int) -> Iterator[str]:
    """The same random texts each time, each with its number, so that no two are equal."""
    rng = random.Random(0)
    return (" ".join([str(number), *rng.choices(WORDS, k=rng.randint(1, 20))]) for number in range(count))


def anonymous_bytes(pid: int) -> int:
    """Memory of a process that is not a file's; 0 once it has ended."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("RssAnon:")), 0)


if __name__ == "__main__":
    main()
