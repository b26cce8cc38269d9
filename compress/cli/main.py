"""The command line. Results go to stdout, progress and errors to stderr."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from compress.cli.arguments import CommandParser, OneLineParser
from compress.cli.commands import COMMANDS
from compress.errors import CompressError
from compress.progress import be_quiet
from compress.version import __version__

_DESCRIPTION = """Make a fine-tuned BERT small and fast, and prove it.

A model is a folder; every step reads one and writes a new one:

  compress demo     --out runs/demo                              see it all work, on a real BERT and real text
  compress finetune bert-base-uncased --data train.csv --out teacher
  compress distill  teacher --data train.csv --layers 3 --out student
  compress quantize student --data train.csv --out int8
  compress bench    teacher student int8 --data train.csv --out report
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 done, 2 something for the user to mend, 130 interrupted."""
    try:
        given = sys.argv[1:] if arguments is None else arguments
        sys.path.append(str(Path.cwd()))  # --loss may name a module of the user's own
        parsed = _parse(given or ["--help"])
        be_quiet(parsed.quiet)
        call = parsed.command.prepare(parsed)
        parsed.command.show(call(), parsed)
    except CompressError as error:
        print(f"compress: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("compress"):
            raise
        print(
            f"compress: this command needs {error.name}; install it with pip install 'compress-bert[train]'",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt as stop:
        print(f"compress: interrupted, {str(stop) or 'nothing half-written is left'}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the program that reads our output has ended, as `head` does
        sys.stderr.close()
        return 0
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = OneLineParser(
        prog="compress", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"compress {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", parser_class=CommandParser)
    wanted = next((word for word in arguments if not word.startswith("-")), None)
    for name, command in COMMANDS.items():
        own = commands.add_parser(name, help=command.summary)
        own.description = command.summary[0].upper() + command.summary[1:] + "."
        own.usage = f"compress {name} {command.usage}"
        if name == wanted:  # importing the settings takes time, so only this command gets its flags
            command.add_flags(own)
            own.add_argument("--json", action="store_true", help="print the result as one JSON document")
            own.add_argument("--quiet", action="store_true", help="no progress")
            own.set_defaults(command=command)
    return parser.parse_args(arguments)
