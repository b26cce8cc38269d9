# transformers.js in headless Chromium: FOLDER GRAPH PEER, JSON texts or pairs on stdin, JSON scores by label on stdout.
# The page, the packages' files and the model are served from this process; nothing else is reached.
import json
import subprocess
import sys
import tempfile
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from threading import Thread

folder, graph, peer = sys.argv[1:]
HERE, MODULES = Path(__file__).parent, Path(peer) / "node_modules"
PLACES = {
    "model": Path(folder),
    "transformers": MODULES / "@huggingface" / "transformers" / "dist",
    "onnxruntime": MODULES / "onnxruntime-web" / "dist",
}
question = {"graph": graph, "texts": json.load(sys.stdin)}
found: Queue[bytes] = Queue()


class Handler(SimpleHTTPRequestHandler):
    def translate_path(self, path: str) -> str:
        first, _, rest = path.split("?", maxsplit=1)[0].removeprefix("/").partition("/")
        return str(PLACES[first] / rest if first in PLACES else HERE / first)

    def do_GET(self) -> None:
        if self.path != "/question":
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(question).encode())

    def do_POST(self) -> None:
        found.put(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
Thread(target=server.serve_forever, daemon=True).start()
with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", f"--user-data-dir={profile}"]
    page = f"http://127.0.0.1:{server.server_port}/page.html"
    browser = subprocess.Popen(["chromium", *flags, page], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        answers = json.loads(found.get(timeout=300))
    finally:
        browser.terminate()
        browser.wait()
if isinstance(answers, dict):
    sys.exit(answers["error"])
for scores in answers:
    print(json.dumps(scores))
