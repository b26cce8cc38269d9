"""The folder of a model: its manifest, and the digests of the files that the manifest lists."""

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path, PureWindowsPath
from typing import Any

from compress.durable import read_sealed, write_sealed
from compress.errors import CompressError
from compress.manifest_entries import ENTRIES, OPTIONAL, Kind, check_entries, is_whole

MANIFEST = "compress.json"
FORMAT_VERSION = 1
SMALL, LARGE = "small", "large"  # the folders of the two models inside that of a cascade
SEARCH, BEST = "search.json", "best"  # in the folder of a search: its record, and its winner
# Files that transformers opens wherever they lie beside a model, whether or not the model was saved with them.
_OPENED_BY_NAME = (
    *("config.json", "generation_config.json", "adapter_config.json"),
    *("model*.safetensors", "pytorch_model*", "*.index.json"),
    *("tokenizer*", "special_tokens_map.json", "added_tokens.json", "chat_template*"),
    *("vocab.*", "merges.txt", "spiece.model", "sentencepiece*.model"),
)


@dataclass(frozen=True)
class File:
    """One file of a model folder; ``name`` is relative to the folder, with forward slashes."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The content of ``compress.json``; other programs run folders of kind ``single_file``, ``tei`` and ``triton``."""

    kind: Kind
    task: str
    labels: tuple[str, ...]
    max_length: int
    parameters: int
    history: tuple[dict[str, Any], ...]
    files: tuple[File, ...] = field(default=())
    format_version: int = FORMAT_VERSION
    # The choice of calibrate or cascade: ``thresholds`` by label, ``abstain_below`` or ``hand_on_below``, and how.
    decision: dict[str, Any] | None = None
    # How long texts are read, if not only their beginning: see :class:`compress.runtime.long_texts.LongTexts`.
    long_texts: dict[str, Any] | None = None

    @property
    def digest(self) -> str:
        """sha256 over the names and contents of all files: two folders with one digest hold the same model."""
        listing = "\n".join(f"{file.name} {file.sha256}" for file in sorted(self.files, key=lambda file: file.name))
        return hashlib.sha256(listing.encode()).hexdigest()

    @property
    def hand_on_below(self) -> float | None:
        """In a cascade, the score of its small model below which the large one answers; None for all other folders."""
        return (self.decision or {}).get("hand_on_below")

    @property
    def is_cascade(self) -> bool:
        """Whether the folder holds two models, of which the large one answers what the small one is unsure of."""
        return self.hand_on_below is not None

    @property
    def names(self) -> frozenset[str]:
        """The names of the model's files, the only ones that may be opened."""
        return frozenset(file.name for file in self.files)


def model_of_search(folder: Path) -> str:
    """The best model in the folder of a search, to be given in its place; empty for any other folder."""
    return str(folder / BEST) if (folder / SEARCH).is_file() and (folder / BEST).is_dir() else ""


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a whole folder; files that are missing, truncated or changed are refused by name."""
    path = folder / MANIFEST
    if folder.is_file():
        raise CompressError(f"{folder}: is a file; give the folder that a step wrote")
    if not folder.is_dir():
        raise CompressError(f"{folder}: no such folder; give the folder that a step wrote")
    if not path.is_file():
        give = model_of_search(folder) or "the folder that a step wrote"
        raise CompressError(f"{folder}: not a model folder, it has no {MANIFEST}; give {give}")
    try:
        manifest = _parse(path)
        for file in manifest.files:
            _check(folder, file)
        _check_labels(folder, manifest)
    except OSError as error:
        raise CompressError(f"{error.filename}: cannot be read ({error.strerror}); make the folder readable") from None
    return manifest


def read_part(folder: Path, whole: Manifest, name: str) -> Manifest:
    """The manifest of the model in ``folder / name``, a part of the model whose manifest ``whole`` was just read.

    ``whole`` lists every file of the part too, so none is read again.
    """
    path = folder / name / MANIFEST
    part = _parse(path) if f"{name}/{MANIFEST}" in whole.names else None
    if part is None or not {replace(file, name=f"{name}/{file.name}") for file in part.files} <= {*whole.files}:
        raise CompressError(f"{path}: lists other files than {folder / MANIFEST}; make or copy the folder again")
    _check_labels(path.parent, part)
    return part


def refuse_cascade(folder: Path, manifest: Manifest) -> None:
    """Refuse the folder of a cascade where one model is needed."""
    if manifest.is_cascade:
        raise CompressError(
            f"{folder}: is a cascade, two models in one; give one of them: {folder / SMALL} or {folder / LARGE}"
        )


def peek(folder: Path) -> Manifest | None:
    """The folder's manifest, without a look at the files that it lists; None for a folder without a manifest."""
    path = folder / MANIFEST
    return _parse(path) if path.is_file() else None


def refuse_unlisted(folder: Path, manifest: Manifest) -> None:
    """Refuse files that transformers would open beside those of a PyTorch model, though no step wrote them."""
    for path in sorted(folder.iterdir()):
        opened = any(fnmatchcase(path.name, pattern) for pattern in _OPENED_BY_NAME)
        if opened and path.name not in manifest.names:
            raise CompressError(f"{path}: {MANIFEST} does not list it, and it could change the model; remove it")


def _parse(path: Path) -> Manifest:
    try:
        raw = {**OPTIONAL, **read_sealed(path, required=False)}  # earlier versions wrote no seal
        version = raw["format_version"]
        if is_whole(version, 1) and version > FORMAT_VERSION:
            raise CompressError(f"{path}: format_version {version} is newer than this package reads; upgrade compress")
        check_entries(raw)
    except (ValueError, KeyError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        raise CompressError(f"{path}: damaged ({reason}); make the folder again") from None
    known = {name: raw[name] for name in ENTRIES}  # later versions, and users, may have added more
    files = tuple(File(file["name"], file["bytes"], file["sha256"]) for file in known.pop("files"))
    for file in files:
        refuse_outside(path, file.name)
    labels, history, max_length = tuple(known.pop("labels")), tuple(known.pop("history")), int(known.pop("max_length"))
    return Manifest(**known, labels=labels, history=history, max_length=max_length, files=files)


def refuse_outside(listing: Path, name: str) -> None:
    """Refuse a ``name`` in ``listing`` that leads outside the folder of ``listing``."""
    parts = PureWindowsPath(name)  # it knows the separators of all systems
    if parts.anchor or ".." in parts.parts:  # a link is no harm, wherever it leads: the digest guards the content
        raise CompressError(f"{listing}: lists {name}, which lies outside the folder; do not use it")


def _check(folder: Path, file: File) -> None:
    path = folder / file.name
    if not path.is_file():
        raise CompressError(f"{path}: missing, though {MANIFEST} lists it; make or copy the folder again")
    size = path.stat().st_size
    if size != file.bytes:
        raise CompressError(f"{path}: has {size} bytes, {MANIFEST} says {file.bytes}; make or copy the folder again")
    if _sha256(path) != file.sha256:
        raise CompressError(f"{path}: changed since it was written; make or copy the folder again")


def _check_labels(folder: Path, manifest: Manifest) -> None:
    """Refuse a folder whose ``config.json``, which other programs read, has other labels than the manifest."""
    if manifest.kind not in ("torch", "onnx") or "config.json" not in manifest.names:
        return
    path = folder / "config.json"
    try:
        names = json.loads(path.read_bytes()).get("id2label")
        same = names is None or [names[str(index)] for index in range(len(names))] == list(manifest.labels)
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
        same = False
    if not same:
        raise CompressError(f"{path}: its id2label are not the labels in {MANIFEST}; make the folder again")


def write_manifest(folder: Path, manifest: Manifest) -> Manifest:
    """Digest every file in ``folder`` and write the manifest last; returns it with its files.

    All files get the permissions of a new file: some libraries take those of group and others away.
    """
    files = tuple(
        File(path.relative_to(folder).as_posix(), path.stat().st_size, _sha256(path))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / MANIFEST
    )
    whole = Manifest(**{**vars(manifest), "files": files})
    content = asdict(whole)
    for name in OPTIONAL:
        if content[name] is None:  # earlier versions wrote no such entry
            del content[name]
    try:
        check_entries({**OPTIONAL, **content})
    except ValueError as error:
        raise CompressError(f"{folder}: {error}, and could not be read again; correct the model given") from None
    write_sealed(folder / MANIFEST, content)
    mode = (folder / MANIFEST).stat().st_mode
    for file in files:
        with suppress(OSError):  # some file systems know no permissions
            (folder / file.name).chmod(mode)
    return whole


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_tree(path: Path) -> str:
    """sha256 of a file's content, or over the names and contents of all files below a folder."""
    if path.is_file():
        return _sha256(path)
    files = (file for file in sorted(path.rglob("*")) if file.is_file())
    listing = "\n".join(f"{file.relative_to(path).as_posix()} {_sha256(file)}" for file in files)
    return hashlib.sha256(listing.encode()).hexdigest()
