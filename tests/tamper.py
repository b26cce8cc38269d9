"""Random changes to the files of a finished folder or cache, one at a time, and whether each is noticed.

python -m tests.tamper --changes 2000 --keep benchmarks/results/tamper.json

Prints, for each kind of folder, changes tried and missed; the exit status is 1 if any was missed.
"""

import argparse
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import compress
from benchmarks.kept import Record, add_keep
from compress.distillation.teacher_cache.shard import INDEX, is_sound
from compress.errors import CompressError
from compress.folder import LARGE, SMALL, read_manifest, write_manifest
from compress.modeling.states import LOGITS
from compress.packaging.cascade import copy_part, joined
from tests.tiny import STORED_RUN


def changed(content: bytes, rng: random.Random) -> bytes:
    """The content with a bit, a byte, a stretch or its end changed; always other bytes."""
    while True:
        at = rng.randint(0, len(content))
        end = min(len(content), at + rng.choice([1, 1, 8, 200]))
        new = rng.choice([b"", content[at:end] * 2, rng.randbytes(end - at), _flipped(content[at:end], rng)])
        found = rng.choice([content[:at], content + new]) if rng.random() < 0.1 else content[:at] + new + content[end:]
        if found != content:
            return found


def _flipped(part: bytes, rng: random.Random) -> bytes:
    return bytes([part[0] ^ 1 << rng.randrange(8)]) + part[1:] if part else b"\0"


def tampered(folder: Path, rng: random.Random) -> Iterator[Path]:
    """Change one file of the folder, name it, and put it back when the block is left."""
    path = rng.choice(sorted(file for file in folder.rglob("*") if file.is_file() and file.name != "lock"))
    content = path.read_bytes()
    kind = rng.random()
    if kind < 0.05:
        path.unlink()
    else:
        path.write_bytes(changed(content, rng))
    yield path
    path.write_bytes(content)


def model_notices(folder: Path, path: Path) -> bool:
    """Whether a model folder is refused in one line that names the changed file."""
    try:
        read_manifest(folder)
    except CompressError as error:
        return str(path.name) in str(error) and "\n" not in str(error)
    return False


def cache_notices(_: Path, path: Path) -> bool:
    """Whether a changed array would be computed again.

    A change to the list of checksums leaves all arrays as they were, so what it lets pass is right; it must not raise.
    """
    sound = {name: is_sound(path.parent, name) for name in (INDEX, LOGITS, path.stem)}
    return path.suffix != ".npy" or not sound[path.stem]


def folders(place: Path) -> Mapping[str, tuple[Path, Callable[[Path, Path], bool]]]:
    """A folder of each kind, written by this version, and what must notice a change in it."""
    sources = {"torch": "teacher", "onnx": "onnx", "int8": "int8", "cache": "cache"}
    for kind, name in sources.items():
        shutil.copytree(STORED_RUN / name, place / kind)
    compress.export(place / "int8", place / "single file", single_file=True)
    for kind in ("torch", "onnx", "int8"):  # earlier versions wrote no digest of the manifest
        write_manifest(place / kind, read_manifest(place / kind))
    _join(place / "int8", place / "onnx", place / "cascade")
    models = ("torch", "onnx", "int8", "single file", "cascade")
    check = dict.fromkeys(models, model_notices) | {"cache": cache_notices}
    return {kind: (place / kind, notices) for kind, notices in check.items()}


def _join(small: Path, large: Path, folder: Path) -> None:
    """A cascade that hands on below a score that nobody chose."""
    manifests = read_manifest(small), read_manifest(large)
    for name, part, manifest in zip((SMALL, LARGE), (small, large), manifests, strict=True):
        copy_part(part, manifest, folder / name)
    write_manifest(folder, joined(*manifests, {"hand_on_below": 0.9}))


def missed(changes: int, seed: int, place: Path) -> dict[str, tuple[int, list[str]]]:
    """For each kind of folder how many changes were tried, and the files whose change was missed."""
    kinds = folders(place)
    found: dict[str, tuple[int, list[str]]] = {}
    for kind, (folder, notices) in kinds.items():
        rng, each = random.Random(f"{kind} {seed}"), -(-changes // len(kinds))
        passed = [
            f"change {number}: {path.relative_to(folder)}"
            for number in range(each)
            for path in tampered(folder, rng)
            if not notices(folder, path)
        ]
        found[kind] = each, passed
    return found


def main() -> int:
    """Try the changes and print what was missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.tamper", description="random changes to finished folders")
    parser.add_argument("--changes", type=int, default=2_000, help="over all kinds of folders (default: 2000)")
    parser.add_argument("--seed", type=int, default=0, help="draws them (default: 0)")
    add_keep(parser)
    given = parser.parse_args()
    record = Record()
    with tempfile.TemporaryDirectory() as place:
        found = missed(given.changes, given.seed, Path(place))
    changes = {kind: {"changes": tried, "missed": passed} for kind, (tried, passed) in found.items()}
    total = sum(tried for tried, _ in found.values())
    record.tell({"seed": given.seed, "asked": given.changes, "changes": total, "kinds": changes}, given.keep)
    return 1 if any(passed for _, passed in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
