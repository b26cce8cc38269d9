"""``compress serve``: answers over HTTP."""

import argparse
import json

from compress.cli.arguments import whole_number
from compress.errors import CompressError
from compress.machine import lacking, usable_cpus
from compress.progress import say
from compress.serving.request_limits import RequestLimits


def add_serve_flags(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    parser.add_argument(
        "models", metavar="[NAME=]MODEL", nargs="+", help="ONNX folders of export, quantize, calibrate or cascade"
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="the address to listen on; 0.0.0.0: all (default: this machine)"
    )
    parser.add_argument("--port", metavar="N", type=int, default=8000, help="0: any that is free (default: 8000)")
    parser.add_argument(
        "--threads", metavar="N", type=whole_number, help="for each model; default: all CPUs but the one of the service"
    )
    usual = RequestLimits()
    for flag, default, about in (
        ("--queue", usual.queue, "texts that may wait for a model"),
        ("--max-texts", usual.texts, "texts of one request"),
        ("--max-characters", usual.characters, "of one text"),
        ("--max-body-bytes", usual.body_bytes, "of a request"),
        ("--drain-seconds", 20, "the most that the end takes"),
    ):
        parser.add_argument(flag, metavar="N", type=whole_number, default=default, help=f"{about} (default: {default})")


def run_serve(arguments: argparse.Namespace) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    if missing := lacking("serve"):
        raise CompressError(f"serve: needs {', '.join(missing)}; install it with pip install 'compress-bert[serve]'")
    if arguments.max_texts > arguments.queue:
        raise CompressError(
            f"serve: --max-texts {arguments.max_texts} could never wait together in --queue {arguments.queue}; "
            "give a longer queue or fewer texts"
        )
    from compress.serving.server import serve

    def say_ready(address: str, models: list[str]) -> None:
        if arguments.json:
            print(json.dumps({"address": address, "models": models}), flush=True)
        say(f"serve: {', '.join(models)} at {address}; Ctrl-C or SIGTERM ends it")

    serve(
        arguments.models,
        host=arguments.host,
        port=arguments.port,
        threads=arguments.threads or max(1, usable_cpus() - 1),
        limits=RequestLimits(arguments.queue, arguments.max_texts, arguments.max_characters, arguments.max_body_bytes),
        drain_s=arguments.drain_seconds,
        say_ready=say_ready,
    )
