"""The commands: those of the steps, made from their declarations, and run, demo, predict and doctor."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from compress import recipes
from compress.cli.arguments import add_settings, given_settings, whole_number
from compress.cli.output import print_findings, print_lines, print_result, print_run
from compress.errors import CompressError
from compress.machine import usable_cpus
from compress.runtime.classifier import load
from compress.runtime.stream import FORMATS, formatted, lines_of, predict
from compress.steps.spec import STEPS, StepSpec


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        usage: its arguments, for the usage line.
        summary: one line of help.
        add_flags: adds its arguments to its parser.
        prepare: from the parsed arguments to the function to call.
        show: prints what that function returns.
    """

    usage: str
    summary: str
    add_flags: Callable[[argparse.ArgumentParser], None]
    prepare: Callable[[argparse.Namespace], Callable[[], Any]]
    show: Callable[[Any, argparse.Namespace], None]


def _step(spec: StepSpec) -> Command:
    def add_flags(parser: argparse.ArgumentParser) -> None:
        for model in spec.inputs:
            parser.add_argument(model.name, metavar=model.metavar, help=model.help, nargs="+" if model.many else None)
        _add_out(parser)
        add_settings(parser, *spec.groups)

    def prepare(arguments: argparse.Namespace) -> Callable[[], Any]:
        models = {model.name: getattr(arguments, model.name) for model in spec.inputs}
        settings = given_settings(arguments, *spec.groups)
        return partial(spec.call, out=arguments.out, overwrite=arguments.overwrite, **models, **settings)

    return Command(spec.usage_line, spec.summary, add_flags, prepare, print_result)


def _add_out(parser: argparse.ArgumentParser, required: bool = True) -> None:
    parser.add_argument("--out", metavar="DIR", required=required, help="the folder to write")
    parser.add_argument("--overwrite", action="store_true", help="replace what an earlier run wrote there")


def _run_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", metavar="RECIPE", nargs="?", help="a YAML or TOML file; see the README")
    parser.add_argument("--schema", action="store_true", help="print the JSON Schema of recipes, for editors, and stop")
    _add_out(parser, required=False)
    parser.add_argument("--seed", metavar="N", help="replaces the recipe's own seed")


def _prepare_run(arguments: argparse.Namespace) -> Callable[[], Any]:
    if arguments.schema:
        from compress.recipes.recipe import json_schema

        return json_schema
    if arguments.recipe is None or arguments.out is None:
        raise CompressError("run: needs RECIPE and --out DIR; see 'compress run --help'")
    from compress.recipes.run import run

    return partial(run, arguments.recipe, arguments.out, seed=arguments.seed, overwrite=arguments.overwrite)


def _demo_flags(parser: argparse.ArgumentParser) -> None:
    _add_out(parser)
    parser.add_argument("--seed", metavar="N", help="seed of everything random (default: 0)")
    parser.set_defaults(recipe=str(Path(recipes.__file__).with_name("demo.yaml")), schema=False)


def _predict_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a folder that export or quantize wrote")
    parser.add_argument(
        "texts", metavar="TEXT", nargs="*", help="texts; without any, one a line from stdin; a pair has a tab"
    )
    parser.add_argument(
        "--threads", metavar="N", type=whole_number, help="CPU threads; default: all that this process may use"
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        help="tsv: labels, score, text; jsonl: an object a line, with the scores of all labels (default: tsv)",
    )


def _prepare_predict(arguments: argparse.Namespace) -> Callable[[], Any]:
    if arguments.json and arguments.format:
        raise CompressError(f"predict: takes --json or --format {arguments.format}, not both")
    threads = arguments.threads or usable_cpus()
    instances = 1 if arguments.texts else threads  # few texts want one quick answer, many want throughput

    def lines() -> Any:
        with load(arguments.model, threads=threads, instances=instances) as classifier:
            answers = predict(classifier, arguments.texts or lines_of(sys.stdin))
            yield from formatted(answers, "json" if arguments.json else arguments.format or "tsv")

    return lines


def _doctor_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", nargs="?", help="a model folder to look at as well")


def _prepare_doctor(arguments: argparse.Namespace) -> Callable[[], Any]:
    from compress.doctor import examine

    return partial(examine, Path(arguments.model) if arguments.model else None)


COMMANDS = {
    "demo": Command(
        "--out DIR", "run the whole pipeline on the embedded BERT and text", _demo_flags, _prepare_run, print_run
    ),
    **{name: _step(spec) for name, spec in STEPS.items()},
    "run": Command(
        "RECIPE --out DIR",
        "run every step of a recipe; started again, it goes on where it stopped",
        _run_flags,
        _prepare_run,
        print_run,
    ),
    "predict": Command(
        "MODEL [TEXT ...]", "label texts with an exported model", _predict_flags, _prepare_predict, print_lines
    ),
    "doctor": Command(
        "[MODEL]",
        "say what this machine and a model can do, and what to fix",
        _doctor_flags,
        _prepare_doctor,
        print_findings,
    ),
}
