"""The command line: parse, call, print. Results go to stdout, progress and errors to stderr."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import compress
from compress import recipes
from compress.cli.arguments import CommandParser, OneLineParser, add_settings, given_settings
from compress.cli.output import as_json, print_report, print_result
from compress.errors import CompressError
from compress.machine import usable_cpus
from compress.progress import be_quiet
from compress.runtime.stream import FORMATS, formatted, lines_of, predict
from compress.version import __version__

if TYPE_CHECKING:
    from compress.config import Settings
    from compress.steps.step import StepResult

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
        parsed.command(parsed)
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
        left = str(stop) or "nothing half-written is left"
        print(f"compress: interrupted, {left}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has left, as `head` does
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
    for name, (usage, summary, build) in _COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        command.usage = f"compress {name} {usage}"
        if name == wanted:  # the settings behind a command's flags take time to import
            build(command)
            command.add_argument("--json", action="store_true", help="print the result as one JSON document")
            command.add_argument("--quiet", action="store_true", help="no progress")
    return parser.parse_args(arguments)


def _build_step(name: str, model: str) -> Callable[[argparse.ArgumentParser], None]:
    """A command that is one step: its flags are its settings."""

    def build(parser: argparse.ArgumentParser) -> None:
        from compress import config

        own: type[Settings] = getattr(config, f"{name.capitalize()}Config")
        groups = (own,) if name == "export" else (config.DataConfig, own)
        many = {"nargs": "+"} if name == "bench" else {}
        parser.add_argument("model", metavar=model, help=_MODEL_HELP[name], **many)  # type: ignore[arg-type]
        _add_out(parser)
        add_settings(parser, *groups)

        def command(arguments: argparse.Namespace) -> None:
            from compress import steps

            step = getattr(steps, name)
            result = step(
                arguments.model, out=arguments.out, overwrite=arguments.overwrite, **given_settings(arguments, *groups)
            )
            print_result(result, arguments.json)
            _refuse_failures(result)

        parser.set_defaults(command=command)

    return build


def _refuse_failures(result: "StepResult") -> None:
    for failure in result.metrics.get("failed", ())[:1]:
        raise CompressError(f"{failure['path']}: could not be measured, the other models were ({failure['reason']})")


def _build_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", metavar="RECIPE", nargs="?", help="a YAML or TOML file; see the README")
    parser.add_argument("--schema", action="store_true", help="print the JSON Schema of recipes, for editors, and stop")
    _add_out(parser, required=False)
    parser.add_argument("--seed", metavar="N", help="instead of the recipe's own seed")

    def command(arguments: argparse.Namespace) -> None:
        if arguments.schema:
            from compress.recipes.recipe import json_schema

            print(json_schema(), end="")
            return
        if arguments.recipe is None or arguments.out is None:
            raise CompressError("run: needs RECIPE and --out DIR; see 'compress run --help'")
        _run_recipe(Path(arguments.recipe), arguments)

    parser.set_defaults(command=command)


def _build_demo(parser: argparse.ArgumentParser) -> None:
    _add_out(parser)
    parser.add_argument("--seed", metavar="N", help="seed of everything random (default: 0)")
    parser.set_defaults(command=lambda arguments: _run_recipe(Path(recipes.__file__).with_name("demo.yaml"), arguments))


def _build_predict(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a folder that export or quantize wrote")
    parser.add_argument(
        "texts", metavar="TEXT", nargs="*", help="texts; without any, one a line from stdin; a pair has a tab"
    )
    parser.add_argument(
        "--threads", metavar="N", type=_threads, help="CPU threads; default: all that this process may use"
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        help="tsv: labels, score, text; jsonl: an object a line, with the scores of all labels (default: tsv)",
    )

    def command(arguments: argparse.Namespace) -> None:
        if arguments.json and arguments.format:
            raise CompressError(f"predict: takes --json or --format {arguments.format}, not both")
        threads = arguments.threads or usable_cpus()
        instances = 1 if arguments.texts else threads  # one answer soon, or many in little time
        with compress.load(arguments.model, threads=threads, instances=instances) as classifier:
            answers = predict(classifier, arguments.texts or lines_of(sys.stdin))
            for line in formatted(answers, "json" if arguments.json else arguments.format or "tsv"):
                print(line)

    parser.set_defaults(command=command)


def _threads(value: str) -> int:
    if not value.isdecimal() or int(value) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number above 0, got {value}")
    return int(value)


def _build_doctor(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", nargs="?", help="a model folder to look at as well")

    def command(arguments: argparse.Namespace) -> None:
        from compress.doctor import examine

        findings = examine(Path(arguments.model) if arguments.model else None)
        if arguments.json:
            print(json.dumps([vars(finding) for finding in findings], indent=2))
        else:
            for finding in findings:
                print(f"{'ok ' if finding.ok else 'FIX'} {finding.about:9} {finding.text}")

    parser.set_defaults(command=command)


def _add_out(parser: argparse.ArgumentParser, required: bool = True) -> None:
    parser.add_argument("--out", metavar="DIR", required=required, help="the folder to write")
    parser.add_argument("--overwrite", action="store_true", help="replace what an earlier run wrote there")


def _run_recipe(recipe: Path, arguments: argparse.Namespace) -> None:
    from compress.recipes.run import run

    results = run(recipe, arguments.out, seed=arguments.seed, overwrite=arguments.overwrite)
    if arguments.json:
        print(json.dumps({name: as_json(result) for name, result in results.items()}, indent=2))
    else:
        _print_run(recipe, Path(arguments.out))
    for result in results.values():
        _refuse_failures(result)


def _print_run(recipe: Path, out: Path) -> None:
    from compress.recipes.recipe import read_recipe

    folders = [out / name for name in read_recipe(recipe).steps]
    for folder in folders:
        if (folder / "report.md").is_file():
            print_report(folder)
    for folder in [folder for folder in folders if (folder / "onnx").is_dir()][-1:]:
        print(f"model:  {folder}")


_MODEL_HELP = {
    "finetune": "hub id or folder of a BERT classifier or encoder; demo:minilm is the embedded one",
    "distill": "folder or hub id of a fine-tuned BERT classifier",
    "prune": "folder or hub id of a fine-tuned BERT classifier",
    "export": "folder or hub id of a fine-tuned BERT classifier",
    "quantize": "a folder that export wrote, or a PyTorch one, which is exported first",
    "bench": "folders of models, PyTorch or ONNX; the first is the reference",
}
_STEP_USAGE = "{} --data D --out DIR [settings]"
_COMMANDS: dict[str, tuple[str, str, Callable[[argparse.ArgumentParser], None]]] = {
    "demo": ("--out DIR", "run the whole pipeline on the embedded BERT and text", _build_demo),
    "finetune": (_STEP_USAGE.format("MODEL"), "train a classifier on labelled texts", _build_step("finetune", "MODEL")),
    "distill": (
        _STEP_USAGE.format("TEACHER"),
        "make a smaller student and train it to answer as the teacher does",
        _build_step("distill", "TEACHER"),
    ),
    "prune": (
        _STEP_USAGE.format("MODEL (--speedup X | --target-latency-ms X | --heads R --ffn R | --vocabulary)"),
        "remove layers, attention heads, FFN neurons and unused tokens, and train to recover",
        _build_step("prune", "MODEL"),
    ),
    "export": (
        "MODEL --out DIR",
        "write the model as fp32 ONNX, checked against PyTorch",
        _build_step("export", "MODEL"),
    ),
    "quantize": (
        _STEP_USAGE.format("MODEL"),
        "write the model as int8 ONNX, checked on validation texts",
        _build_step("quantize", "MODEL"),
    ),
    "bench": (
        _STEP_USAGE.format("MODEL [MODEL ...]"),
        "measure accuracy, latency and size of models side by side",
        _build_step("bench", "MODEL"),
    ),
    "run": (
        "RECIPE --out DIR",
        "run every step of a recipe; started again, it goes on where it stopped",
        _build_run,
    ),
    "predict": ("MODEL [TEXT ...]", "label texts with an exported model", _build_predict),
    "doctor": ("[MODEL]", "say what this machine and a model can do, and what to fix", _build_doctor),
}
