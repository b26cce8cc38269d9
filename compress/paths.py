"""Paths as users write them."""

from pathlib import Path

from compress.errors import CompressError


def local_path(name: str | Path) -> Path:
    """``name`` with ``~`` and ``~user`` written out, which the shell leaves as they are in ``--out=~/x`` and recipes.

    Raises:
        CompressError: there is no such user.
    """
    try:
        return Path(name).expanduser()
    except RuntimeError:
        raise CompressError(f"{name}: there is no such user's home folder here; give the whole path") from None
