"""The commands, and how one is run. Results go to stdout, progress and errors to stderr."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path

from compress import recipes
from compress.cli.arguments import CommandParser, OneLineParser, add_settings, function_arguments
from compress.cli.check import add_check_flags, run_check
from compress.cli.output import print_findings, print_result, print_run
from compress.cli.predict import add_predict_flags, run_predict
from compress.cli.serve import add_serve_flags, run_serve
from compress.durable import disk_failure, is_full
from compress.errors import CompressError
from compress.paths import local_path
from compress.progress import be_quiet
from compress.steps.spec import STEPS, ModelInput, StepSpec
from compress.version import __version__

_DESCRIPTION = """Make a fine-tuned BERT small and fast, and prove it.

A model is a folder; every step reads one and writes a new one:

  compress demo     --out runs/demo                              see it all work, on a real BERT and real text
  compress auto     teacher --data train.csv --max-drop 1 --out search   search/best: the fastest within a point
  compress finetune bert-base-uncased --data train.csv --out teacher
  compress distill  teacher --data train.csv --layers 3 --out student
  compress quantize student --data train.csv --out int8
  compress bench    teacher student int8 --data train.csv --out report
"""

DEMO_RECIPE = Path(recipes.__file__).with_name("demo.yaml")


@dataclass(frozen=True)
class Command:
    """One command of the command line."""

    usage: str
    summary: str
    add_flags: Callable[[argparse.ArgumentParser], None]
    call: Callable[[argparse.Namespace], int | None]  # does the work and prints the result; the exit status, None: 0
    json_file: bool = False  # whether --json may name a file to write


def _step(spec: StepSpec) -> Command:
    def add_flags(parser: argparse.ArgumentParser) -> None:
        for model in spec.inputs:
            parser.add_argument(model.name, metavar=model.metavar, help=model.help, nargs="+" if model.many else None)
        _add_out(parser)
        add_settings(parser, *spec.groups)

    def call(arguments: argparse.Namespace) -> None:
        print_result(spec.call(**function_arguments(arguments)), arguments.json)

    return Command(spec.usage_line, spec.summary, add_flags, call)


def _add_out(parser: argparse.ArgumentParser, required: bool = True) -> None:
    parser.add_argument("--out", metavar="DIR", required=required, help="the folder to write")
    parser.add_argument("--overwrite", action="store_true", help="replace what an earlier run wrote there")


def _run_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", metavar="RECIPE", nargs="?", help="a YAML or TOML file; see docs/steps/run.md")
    parser.add_argument("--schema", action="store_true", help="print the JSON Schema of recipes, for editors, and stop")
    _add_out(parser, required=False)
    parser.add_argument("--seed", metavar="N", help="replaces the recipe's own seed")


def _demo_flags(parser: argparse.ArgumentParser) -> None:
    _add_out(parser)
    parser.add_argument("--seed", metavar="N", help="seed of everything random (default: 0)")
    about = "after the teacher, search for the fastest model within a point instead; this takes several times as long"
    parser.add_argument("--auto", action="store_true", help=about)
    parser.set_defaults(recipe=str(DEMO_RECIPE), schema=False)


def _run(arguments: argparse.Namespace) -> None:
    if arguments.schema:
        from compress.recipes.recipe import json_schema

        print(json_schema(), end="")
        return
    if arguments.recipe is None or arguments.out is None:
        raise CompressError("run: needs RECIPE and --out DIR; see 'compress run --help'")
    from compress.recipes.recipe import read_recipe
    from compress.recipes.run import run

    recipe, out = read_recipe(Path(arguments.recipe)), local_path(arguments.out, "--out")
    results = run(recipe, out, seed=arguments.seed, overwrite=arguments.overwrite)
    print_run(results, [out / name for name in recipe.steps], arguments.json)


def _demo(arguments: argparse.Namespace) -> None:
    if not arguments.auto:
        _run(arguments)
        return
    from compress.recipes.recipe import read_recipe
    from compress.recipes.run import run
    from compress.tuning.auto import auto

    out, whole = local_path(arguments.out, "--out"), read_recipe(Path(arguments.recipe))
    training = whole.model_copy(update={"steps": {"teacher": whole.steps["teacher"]}})
    run(training, out, seed=arguments.seed, overwrite=arguments.overwrite)
    seed = {} if arguments.seed is None else {"seed": arguments.seed}
    result = auto(out / "teacher", out / "data", out / "auto", max_drop=1.0, overwrite=arguments.overwrite, **seed)
    print_result(result, arguments.json)
    if not arguments.json:
        print(f"model:  {out / 'auto' / 'best'}")


def _doctor_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", nargs="?", help="a model folder to look at as well")


def _doctor(arguments: argparse.Namespace) -> None:
    from compress.doctor import examine

    print_findings(examine(None if arguments.model is None else local_path(arguments.model, "MODEL")), arguments.json)


_AUTO = StepSpec(
    "auto",
    "find the best model that meets your goals: students, cuts, a smaller vocabulary, int8",
    (ModelInput("model", "hub id or folder of a fine-tuned classifier, or of an encoder, which is trained first"),),
    "compress.tuning.auto",
    "AutoConfig",
    usage="(--max-drop P | --target-latency-ms M | --speedup S | --max-megabytes MB)",
)
COMMANDS = {
    "demo": Command("--out DIR [--auto]", "run the whole pipeline on the embedded BERT and text", _demo_flags, _demo),
    "auto": _step(_AUTO),
    **{name: _step(spec) for name, spec in STEPS.items()},
    "run": Command(
        "RECIPE --out DIR", "run every step of a recipe; started again, it goes on where it stopped", _run_flags, _run
    ),
    "predict": Command(
        "MODEL [TEXT ... | --data FILE --out FILE]",
        "label texts, or the rows of a file, with an exported model",
        add_predict_flags,
        run_predict,
    ),
    "serve": Command("MODEL... [--port N]", "answer over HTTP, with one model or several", add_serve_flags, run_serve),
    "check": Command(
        "NEW --against OLD --data D [settings]",
        "say whether a new model may take the place of an old one: exit status 0 or 1",
        add_check_flags,
        run_check,
        json_file=True,
    ),
    "doctor": Command("[MODEL]", "say what this machine and a model can do, and what to fix", _doctor_flags, _doctor),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 done, 1 a check failed, 2 something to fix, 130 interrupted."""
    try:
        _write_utf8()
        words = sys.argv[1:] if arguments is None else arguments
        parsed = _parse(words or ["--help"])
        be_quiet(parsed.quiet)
        status = _call(parsed)
        if sys.stdout is not None:
            sys.stdout.flush()  # here, so that a result that cannot be written is still an error of the command
    except CompressError as error:
        print(f"compress: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("compress"):
            raise
        part_of = error.name.partition(".")[0]
        advice = f"the installed {part_of} lacks it, being too old or too new: install another version"
        if part_of == error.name:
            advice = "install it with pip install 'compress-bert[train]'"
        print(f"compress: this command needs {error.name}; {advice}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(f"compress: interrupted, {str(stop) or 'nothing half-written is left'}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the program that reads our output has ended, as ``head`` does
        _drop_output()
        sys.stderr.close()
        return 0
    except OSError as error:
        if (reason := disk_failure(error)) is None:
            raise
        advice = "; free some space, then run it again" if is_full(reason) else ""
        print(f"compress: {error.filename or 'the output'}: {reason}{advice}", file=sys.stderr)
        _drop_output()
        return 2
    return status or 0


def _call(parsed: argparse.Namespace) -> int | None:
    """The command's exit status; running out of memory becomes an error that says which settings need less."""
    try:
        status: int | None = parsed.command.call(parsed)
    except Exception as error:
        from compress.workers.process import is_out_of_memory

        if isinstance(error, CompressError) or not is_out_of_memory(error):
            raise
        reason, advice = str(error).partition("\n")[0] or type(error).__name__, "end other programs"
        if "batch_size" in parsed:
            advice += ", or halve --batch-size and double --gradient-accumulation, which learns about the same"
        elif getattr(parsed, "recipe", str(DEMO_RECIPE)) != str(DEMO_RECIPE):
            advice += ", or halve a training's batch_size and double its gradient_accumulation in the recipe"
        raise CompressError(f"out of memory ({reason:.200}); {advice}") from None
    return status


def _add_json(parser: argparse.ArgumentParser, command: Command) -> None:
    about = "print the result as one JSON document"
    if command.json_file:
        parser.add_argument("--json", metavar="FILE", nargs="?", const=True, help=f"{about}, or write it to FILE")
    else:
        parser.add_argument("--json", action="store_true", help=about)


def _drop_output() -> None:
    """Throw away what could not be written, or Python would try again at exit and print its own error."""
    with suppress(OSError, AttributeError):  # a program that calls main may have replaced stdout
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _write_utf8() -> None:
    """Write results and messages as UTF-8 in any locale, with lone surrogates escaped."""
    if sys.stdout is not None and sys.stdout.closed:  # by a program that calls main
        sys.stdout = None  # then print writes nothing, as if the shell had closed stdout
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper) and not stream.closed:
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    layout = argparse.RawDescriptionHelpFormatter
    parser = OneLineParser(prog="compress", description=_DESCRIPTION, formatter_class=layout, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"compress {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", parser_class=CommandParser)
    wanted = next((word for word in arguments if not word.startswith("-")), None)
    shown = {name: COMMANDS[name] for name in arguments[:1] if name in COMMANDS} or COMMANDS
    for name, command in shown.items():  # nobody sees the others once one is named, and each takes time
        usage, about = f"compress {name} {command.usage}", command.summary[0].upper() + command.summary[1:] + "."
        own = commands.add_parser(name, usage=usage, description=about, help=command.summary, allow_abbrev=False)
        if name == wanted:  # importing settings takes time, so only this command gets its flags
            command.add_flags(own)
            _add_json(own, command)
            own.add_argument("--quiet", action="store_true", help="no progress")
            own.set_defaults(command=command)
    return parser.parse_args(arguments)
