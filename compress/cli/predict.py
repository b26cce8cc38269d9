"""``compress predict``: answers texts from arguments or stdin, or adds columns of answers to a file."""

import argparse
import json
import sys
from typing import TYPE_CHECKING

from compress.cli.arguments import whole_number
from compress.clock import in_words
from compress.errors import CompressError
from compress.machine import usable_cpus
from compress.runtime.stream import FORMATS, formatted, lines_of, predict

if TYPE_CHECKING:
    from compress.runtime.classifier import Classifier


def add_predict_flags(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    parser.add_argument("model", metavar="MODEL", help="an ONNX folder of export, quantize, calibrate or cascade")
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
    parser.add_argument("--data", metavar="FILE", help="a CSV, TSV, JSONL or Parquet file, in place of TEXT")
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="a copy of --data with the columns label and score (multi-label tasks: labels, too; a model that can "
        "abstain: abstained); killed, the same command goes on where it stopped",
    )
    parser.add_argument(
        "--text", metavar="COLUMN", action="append", default=[], help="the column of the text (twice for a pair)"
    )
    parser.add_argument("--prefix", metavar="NAME", default="", help="put before the names of the new columns")
    parser.add_argument("--overwrite", action="store_true", help="replace a file --out")


def run_predict(arguments: argparse.Namespace) -> None:
    """Answer the texts or the file, and print the answers or what was written."""
    if (arguments.data is None) != (arguments.out is None):
        raise CompressError("predict: --data FILE and --out FILE belong together; see 'compress predict --help'")
    if arguments.data is not None and (arguments.texts or arguments.format):
        raise CompressError("predict: takes TEXT and --format, or --data and --out, not both")
    if arguments.data is None and (arguments.text or arguments.prefix or arguments.overwrite):
        raise CompressError("predict: --text, --prefix and --overwrite go with --data FILE; leave them out")
    if arguments.json and arguments.format:
        raise CompressError(f"predict: takes --json or --format {arguments.format}, not both")
    if arguments.data is None and not arguments.texts and sys.stdin is None:
        raise CompressError("predict: no TEXT, and stdin is closed; give texts as arguments, or one a line on stdin")
    from compress.runtime.classifier import load

    threads = arguments.threads or usable_cpus()
    instances = 1 if arguments.texts else threads  # latency for a few texts, throughput for many
    with load(arguments.model, threads=threads, instances=instances) as classifier:
        if arguments.data is not None:
            _predict_file(classifier, arguments)
            return
        answers = predict(classifier, arguments.texts or lines_of(sys.stdin))
        for line in formatted(answers, "json" if arguments.json else arguments.format or "tsv"):
            print(line)


def _predict_file(classifier: "Classifier", arguments: argparse.Namespace) -> None:
    from compress.bulk.predict import predict_file

    done = predict_file(
        classifier,
        arguments.model,
        arguments.data,
        arguments.out,
        text=arguments.text,
        prefix=arguments.prefix,
        overwrite=arguments.overwrite,
    )
    if arguments.json:
        print(json.dumps({**vars(done), "out": str(done.out)}, indent=2))
    else:
        print(f"{'rows:':22} {done.rows:,}")
        print(f"{'columns added:':22} {', '.join(done.columns)}")
        print(f"{'written:':22} {done.out} in {in_words(done.seconds)}")
