"""A folder of ours through ``compress.load``: made beforehand, by any path."""

from pathlib import Path

from benchmarks.peers.contenders import shared


def load(folder: Path, threads: int) -> shared.Answer:
    """As an app does."""
    import compress

    classifier = compress.load(folder, threads=threads)
    return lambda text: str(classifier(text).label)
