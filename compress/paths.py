"""Paths as users write them, and what is none."""

import errno
import os
import re
from pathlib import Path

from compress.errors import CompressError

_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")


def local_path(name: str | Path, option: str = "") -> Path:
    """``name`` with ``~`` and ``~user`` written out, which the shell leaves as they are in ``--out=~/x`` and recipes.

    What is refused is called by the ``option`` that gave it, such as ``--out``.

    Raises:
        CompressError: there is no such user, or no file can have this name.
    """
    try:
        os.lstat(name)
        possible = True
    except ValueError:  # it holds a NUL, or what UTF-8 cannot hold
        possible = False
    except OSError as error:
        possible = name != "" and error.errno != errno.ENAMETOOLONG  # Path("") would be the working folder
    if not possible:
        raise CompressError(f"{option} {str(name)!a:.200}: no file can have this name; give another".lstrip())
    try:
        return Path(name).expanduser()
    except RuntimeError:
        raise CompressError(f"{name}: there is no such user's home folder here; give the whole path") from None


def may_be_hub_id(name: str) -> bool:
    """Whether ``name`` may be an id of the Hugging Face hub: ``bert-base-uncased``, ``google-bert/bert-base-uncased``.

    What is here is a path, and so is what would lie in a folder that is here.
    """
    owner, _, _ = name.rpartition("/")
    return bool(_HUB_ID.fullmatch(name)) and not Path(name).exists() and not (owner and Path(owner).is_dir())
