"""Builds what a Dockerfile describes where there is no Docker, and runs it: an overlay over this machine's own files.

Each stage is an overlay in memory with this Python in place of the image's, entered by ``chroot`` in a mount namespace
of its own, so that nothing stays behind. It takes root's rights, and knows no more of Dockerfiles than those of
``examples/`` use.
"""

import json
import shlex
import subprocess
import sys
from pathlib import Path

_STAGE = """
stage={name}; mkdir $work/$stage; mount -t tmpfs tmpfs $work/$stage
root=$work/$stage/root; mkdir $root $work/$stage/upper $work/$stage/work
mount -t overlay overlay -o lowerdir=/,upperdir=$work/$stage/upper,workdir=$work/$stage/work $root
mount --bind /dev $root/dev; mount -t proc proc $root/proc; mount -t tmpfs tmpfs $root/tmp
{open}{python} -m venv $root/image; sed -i "s|$root||" $root/image/bin/pip; size_before=$(du -sb $root/image | cut -f1)
"""
# A variable and no function, so that what a program starts in the background is the process that it can end.
_INSIDE = """
inside="chroot $root setpriv --reuid={user} --regid={user} --clear-groups env -u PYTHONPATH"
inside="$inside -u PYTHONDONTWRITEBYTECODE HOME=/tmp PATH=/image/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""


def run_image(dockerfile: Path, context: Path, work: Path, program: str) -> str:
    """What ``program`` prints, a shell's, once the image is built.

    It runs what comes after ``$inside`` as the image's user, has the entry point's words as ``"$@"``, and ``$root`` and
    ``$size_before``, of its folder ``/image``.
    """
    script, entry = [f"set -e; work={work}; mount -t tmpfs tmpfs $work"], ""
    for line in dockerfile.read_text(encoding="utf-8").splitlines():
        word, _, rest = line.partition(" ")
        match word:
            case "FROM":
                _, _, name = rest.partition(" AS ")
                script.append(_STAGE.format(name=name or "last", open=_open_to_all(), python=sys.executable))
                script.append(_INSIDE.format(user=0))
            case "COPY":
                script.append(_copy(shlex.split(rest), context))
            case "RUN":
                script.append(f"$inside sh -ec {shlex.quote(f'cd /; {rest}')} >&2")
            case "USER":
                script.append(_INSIDE.format(user=rest.partition(":")[0]))
            case "ENTRYPOINT":
                entry = shlex.join(json.loads(rest))
            case _:
                assert word in ("", "#", "EXPOSE"), line
    script.append(f"set -- {entry}\n{program}")
    command = ["unshare", "--mount", "sh", "-c", "\n".join(script)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def _open_to_all() -> str:
    """Commands that let every user reach this Python, which may be in root's home."""
    return "".join(f"chmod a+x $root{parent}; " for parent in Path(sys.base_prefix).parents if parent != Path("/"))


def _copy(words: list[str], context: Path) -> str:
    source, target = [word for word in words if not word.startswith("--")][-2:]
    sources = [word for word in words if not word.startswith("--")][:-1]
    stage = next((word.partition("=")[2] for word in words if word.startswith("--from=")), None)
    found = f"$work/{stage}/root{source}" if stage else f"{context}/{source}"
    if len(sources) == 1 and not target.endswith("/"):
        return f"mkdir -p $root{Path(target).parent}; cp -rT {found} $root{target}"
    return f"mkdir -p $root{target}; cp {' '.join(f'{context}/{one}' for one in sources)} $root{target}"
