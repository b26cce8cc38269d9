"""``compress check``: whether a new model may take the place of an old one."""

import argparse
import json

from compress.cli.arguments import add_settings, function_arguments
from compress.durable import partial_of, write_errors_in_one_line, write_whole
from compress.errors import CompressError
from compress.paths import local_path


def add_check_flags(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    about = "a model folder of any kind, a hub id, or another program's ONNX file beside its tokenizer and config.json"
    parser.add_argument("new", metavar="NEW", help=about)
    parser.add_argument("--against", metavar="OLD", required=True, help="the model in use; of the same kinds")
    parser.add_argument("--markdown", metavar="FILE", help="write the result as the comment of a pull request")
    from compress.config import CheckConfig, DataConfig

    add_settings(parser, DataConfig, CheckConfig)


def run_check(arguments: argparse.Namespace) -> int:
    """Compare, and print or write the result; returns 0 if the new model is within the limits, else 1."""
    from compress.decisions.shown import as_markdown, as_text
    from compress.steps.decisions import check

    flags = {name: getattr(arguments, name) for name in ("json", "markdown")}
    files = {name: local_path(file, f"--{name}") for name, file in flags.items() if isinstance(file, str)}
    for name, file in files.items():
        if file.is_dir() or not file.absolute().parent.is_dir():
            raise CompressError(f"--{name} {file}: cannot be written there; name a file in a folder that exists")
        with write_errors_in_one_line(f"--{name} {file}", below=file.parent):  # before anything is measured
            probe = partial_of(file)
            probe.touch()
            probe.unlink()
    result = check(**function_arguments(arguments, "markdown"))
    forms = {"json": json.dumps(result, indent=2, ensure_ascii=False) + "\n", "markdown": as_markdown(result)}
    for name, file in files.items():
        with write_errors_in_one_line(f"--{name} {file}", below=file.parent):
            write_whole(file, forms[name])
    print(forms["json"] if arguments.json is True else as_text(result), end="")
    return 0 if result["passed"] else 1
