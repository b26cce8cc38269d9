"""Settings as command-line flags: one flag a field, its help from the field's own description.

argparse and not a larger library: ``compress predict`` must work in the base install, which has three dependencies, and
the parsing that such a library would do is done by the settings themselves, with the same errors as everywhere.
"""

import argparse
from typing import TYPE_CHECKING, Any, NoReturn

from compress.errors import CompressError

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from compress.config import Settings


class OneLineParser(argparse.ArgumentParser):
    """A parser whose errors are one line, like all others."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing usage and exiting."""
        where = self.prog.removeprefix("compress").strip()
        raise CompressError(f"{where + ': ' if where else ''}{message}; see '{self.prog} --help'")


class CommandParser(OneLineParser):
    """A command's own parser, whose flags may also stand between its arguments: ``predict MODEL --json TEXT``."""

    _intermixing = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's, which would take the arguments before the first flag for all there are."""
        if self._intermixing:
            return super().parse_known_args(args, namespace)
        self._intermixing = True
        known, unknown = self.parse_known_intermixed_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")  # here, where the command's name is known
        return known, unknown


def add_settings(parser: argparse.ArgumentParser, *groups: "type[Settings]") -> None:
    """A flag for each field of each group; values stay text, the settings parse them."""
    for group in groups:
        section = parser.add_argument_group(f"{group.command} settings")
        for name, field in group.model_fields.items():
            flag = "--" + (field.alias or name).replace("_", "-")
            about = _help(field.description or "", field.get_default(call_default_factory=True), field.is_required())
            if field.annotation in (bool, bool | None):
                section.add_argument(flag, dest=name, action=argparse.BooleanOptionalAction, default=None, help=about)
            elif field.annotation == list[str]:
                section.add_argument(flag, dest=name, action="append", metavar="COL", help=about)
            else:
                shown = _metavar(name, field)
                section.add_argument(flag, dest=name, required=field.is_required(), metavar=shown, help=about)


def given_settings(arguments: argparse.Namespace, *groups: "type[Settings]") -> dict[str, Any]:
    """The settings that the command line gives, by name."""
    names = [name for group in groups for name in group.model_fields]
    return {name: value for name in names if (value := getattr(arguments, name)) is not None}


def _help(description: str, default: Any, required: bool) -> str:
    shown = "" if required or default in (None, [], False) or "default" in description else f" (default: {default})"
    return (description + shown).replace("%", "%%")


def _metavar(name: str, field: "FieldInfo") -> str:
    """The choices where there are few, else the kind of value."""
    known = {"data": "D", "train": "FILE", "validation": "FILE", "test": "FILE", "encoding": "NAME"}
    known |= {"unlabeled": "FILE", "teacher_cache": "DIR", "loss": "MODULE.FUNCTION"}
    if name in known:
        return known[name]
    kinds = str(field.annotation)
    if "Literal[" in kinds:
        return "{" + kinds.split("Literal[")[1].split("]", maxsplit=1)[0].replace("'", "").replace(" ", "") + "}"
    return "N" if "int" in kinds or "float" in kinds else "MODEL"
