"""The reference pages: every command's arguments as its ``--help`` has them, and what ``import compress`` offers."""

import argparse
import inspect
from typing import Any

import compress
from compress.cli.main import COMMANDS, Command

_HEADS = "| argument | what it does |\n|---|---|\n"
_SHARED = "data settings"


def commands() -> str:
    """A section for each command, in Markdown; the settings of data, which many take, stand once, at the end."""
    sections = [_section(name, command) for name, command in COMMANDS.items()]
    return "\n".join([*sections, f"## Data settings\n\n{_HEADS}{_rows(_parser('bench'), shared=True)}"])


def python() -> str:
    """A section for each public name, with its signature and its docstring."""
    return "\n".join(_documented(name) for name in compress.__all__)


def _section(name: str, command: Command) -> str:
    parser = _parser(name)
    about = command.summary[0].upper() + command.summary[1:]
    has_data = any(group.title == _SHARED for group in parser._action_groups)
    data = "\nAnd the [data settings](#data-settings).\n" if has_data else ""
    usage = f"```text\ncompress {name} {command.usage}\n```"
    return f"## {name}\n\n{about}.\n\n{usage}\n\n{_HEADS}{_rows(parser, shared=False)}{data}"


def _parser(name: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"compress {name}", add_help=False)
    COMMANDS[name].add_flags(parser)
    return parser


def _rows(parser: argparse.ArgumentParser, shared: bool) -> str:
    formatter = argparse.HelpFormatter(parser.prog)
    groups = [group for group in parser._action_groups if (group.title == _SHARED) == shared]
    actions = [action for group in groups for action in group._group_actions]
    told = {_name(action): formatter._expand_help(action).replace("|", r"\|") for action in actions}
    return "".join(f"| `{name}` | {about} |\n" for name, about in told.items())


def _name(action: argparse.Action) -> str:
    flags = ", ".join(action.option_strings)
    choices = f"{{{','.join(action.choices)}}}" if action.choices else action.dest.upper()
    value = "" if flags and action.nargs == 0 else str(action.metavar or choices)
    return " ".join(filter(None, (flags, value)))


def _documented(name: str) -> str:
    found = getattr(compress, name)
    if inspect.ismodule(found):
        return f"## compress.{name}\n\n{inspect.getdoc(found)}\n"
    told = [_signature(found, name)]
    if inspect.isclass(found):
        own = {part: value for part, value in vars(found).items() if inspect.isfunction(value)}
        told += [_signature(value, part) for part, value in own.items() if part == "__call__" or part[0] != "_"]
    return f"## compress.{name}\n\n```text\n" + "\n\n".join(told) + "\n```\n"


def _signature(found: Any, name: str) -> str:
    """The call without its types, whose names differ between versions of Python, and the docstring."""
    call = inspect.signature(found)
    bare = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in call.parameters.values()]
    shown = call.replace(parameters=bare, return_annotation=inspect.Signature.empty)
    return f"{name}{shown}\n\n{inspect.getdoc(found) or ''}".rstrip()
