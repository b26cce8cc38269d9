"""Serves the page with a model: python examples/browser/serve.py MODEL [--node-modules DIR] [--port 8080].

MODEL is a folder that ``compress quantize`` wrote. The page takes transformers.js from a CDN; with ``--node-modules``
from a copy there (``npm install @huggingface/transformers``), and then needs no network.
"""

import argparse
import functools
import re
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CDN = re.compile(rb"https://cdn\.jsdelivr\.net/npm/@huggingface/transformers@[\d.]+")
LOCAL = b"/node_modules/@huggingface/transformers/dist/transformers.min.js"


class Handler(SimpleHTTPRequestHandler):
    """The page's files, ``/model/`` and ``/node_modules/``, each from its own folder."""

    def __init__(self, *arguments: Any, roots: dict[str, Path], local: bool) -> None:
        self.roots = roots
        self.local = local
        super().__init__(*arguments, directory=str(HERE))

    def translate_path(self, path: str) -> str:
        """A URL's file; the parent class has taken out what would lead elsewhere."""
        below = Path(super().translate_path(path)).relative_to(HERE)
        root = self.roots.get(below.parts[0]) if below.parts else None
        return str(HERE / below if root is None else root.joinpath(*below.parts[1:]))

    def do_GET(self) -> None:
        """As the parent class; the page itself with the copy's address where there is one."""
        if not self.local or self.path.partition("?")[0] != "/":
            super().do_GET()
            return
        page = CDN.sub(LOCAL, (HERE / "index.html").read_bytes())
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--node-modules", type=Path)
    parser.add_argument("--port", type=int, default=8080)
    asked = parser.parse_args()
    if not (asked.model / "onnx" / "model_quantized.onnx").is_file():
        parser.error(f"{asked.model}: has no onnx/model_quantized.onnx; make it with 'compress quantize'")
    roots = {"model": asked.model.resolve()}
    if asked.node_modules:
        roots["node_modules"] = asked.node_modules.resolve()
    handler = functools.partial(Handler, roots=roots, local=bool(asked.node_modules))
    with ThreadingHTTPServer(("127.0.0.1", asked.port), handler) as server:
        print(f"http://localhost:{server.server_port}/", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
