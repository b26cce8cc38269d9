"""Paths as users write them, and names that cannot be paths."""

import errno
import os
import re
from pathlib import Path

from compress.errors import CompressError
from compress.formatting import kind

_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")


def local_path(name: str | Path, option: str = "") -> Path:
    """``name`` as a path, with ``~`` and ``~user`` expanded, which no shell does in ``--out=~/x`` or recipes.

    Errors name the ``option`` that gave it, such as ``--out``.

    Raises:
        CompressError: it is no ``str`` or ``Path``, there is no such user, no file can have this name, or this user may
            not enter the folder.
    """
    try:
        path = Path(name).expanduser()
        os.lstat(path / "_")  # needs the permission to search the folder
    except TypeError:
        wanted = f"{option}: give a path" if option else "give a path or hub id"
        raise CompressError(f"{wanted}, got {kind(name)}") from None
    except RuntimeError:
        raise CompressError(f"{name}: there is no such user's home folder here; give the whole path") from None
    except PermissionError as error:
        advice = "give this user the right to enter this folder and those above it"
        raise CompressError(f"{option} {name}: {error.strerror}; {advice}".lstrip()) from None
    except (ValueError, OSError) as error:  # ValueError: it holds a NUL, or what UTF-8 cannot hold
        possible = isinstance(error, OSError) and error.errno != errno.ENAMETOOLONG
    else:
        possible = True
    if not possible or name == "":  # Path("") would be the working folder
        raise CompressError(f"{option} {str(name)!a:.200}: no file can have this name; give another".lstrip())
    return path


def may_be_hub_id(name: str) -> bool:
    """Whether ``name`` may be an id of the Hugging Face hub: ``bert-base-uncased``, ``google-bert/bert-base-uncased``.

    A name that exists here is a path, and so is one whose first part is a folder here.
    """
    owner, _, _ = name.rpartition("/")
    return bool(_HUB_ID.fullmatch(name)) and not Path(name).exists() and not (owner and Path(owner).is_dir())
