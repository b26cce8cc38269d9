"""Settings as command-line flags: one flag for each field, with the field's own description as its help.

It uses argparse and no larger library: ``compress predict`` must work in the base install, with its three dependencies.
The settings themselves parse the values, so errors read the same as everywhere else.
"""

import argparse
from typing import TYPE_CHECKING, Any, NoReturn

from compress.errors import CompressError

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from compress.config import Settings


class OneLineParser(argparse.ArgumentParser):
    """A parser whose errors are one line, like all other errors of compress."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing usage and exiting."""
        where = self.prog.removeprefix("compress").strip()
        raise CompressError(f"{where + ': ' if where else ''}{message}; see '{self.prog} --help'")


class CommandParser(OneLineParser):
    """A command's own parser, whose flags may also stand between its arguments: ``predict MODEL --json TEXT``."""

    _intermixing = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As in argparse, but arguments after the first flag are read too."""
        if self._intermixing:
            return super().parse_known_args(args, namespace)
        self._intermixing = True
        known, unknown = self.parse_known_intermixed_args(args, namespace)
        if "--calibrate" in unknown:
            self.error("--calibrate is now --for openvino, which chooses the ranges by itself")
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")  # here, since the message names the command
        return known, unknown


def function_arguments(arguments: argparse.Namespace, *others: str) -> dict[str, Any]:
    """The keyword arguments for a command's function: those that were given, without ``others`` and shared flags."""
    left_out = {"command", "json", "quiet", *others}
    return {name: value for name, value in vars(arguments).items() if name not in left_out and value is not None}


def whole_number(value: str) -> int:
    """Parse a number above 0, for flags of commands without settings."""
    if not value.isdecimal() or int(value) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number above 0, got {value}")
    return int(value)


def add_settings(parser: argparse.ArgumentParser, *groups: "type[Settings]") -> None:
    """Add a flag for each field of each group; values stay text, which the settings parse."""
    for group in groups:
        section = parser.add_argument_group(f"{group.command} settings")
        for name, field in group.model_fields.items():
            options: dict[str, Any] = {"metavar": _metavar(field), "required": field.is_required()}
            if field.annotation in (bool, bool | None):
                options = {"action": argparse.BooleanOptionalAction, "default": None}
            elif field.annotation == list[str]:
                options["action"] = "append"
            flag = "--" + (field.alias or name).replace("_", "-")
            section.add_argument(flag, dest=name, help=_help(field), **options)


def _help(field: "FieldInfo") -> str:
    about, default = field.description or "", field.get_default(call_default_factory=True)
    unset = default is None or default is False or default == []  # but 0 is a default like others
    shown = not field.is_required() and not unset and "default" not in about
    return (f"{about} (default: {default})" if shown else about).replace("%", "%%")


def _metavar(field: "FieldInfo") -> str | None:
    """The placeholder of a flag's value in the help: what it names, its choices, or N for a number."""
    from compress.config import Names

    for mark in field.metadata:
        if isinstance(mark, Names):
            return mark.value
    kinds = str(field.annotation)
    if "Literal[" in kinds:
        return "{" + kinds.split("Literal[")[1].split("]", maxsplit=1)[0].replace("'", "").replace(" ", "") + "}"
    return "N" if "int" in kinds or "float" in kinds else None
