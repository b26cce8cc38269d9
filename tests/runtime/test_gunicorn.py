"""A classifier that gunicorn loads before it forks its workers answers in each of them."""

import json
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.request import urlopen

import pytest

import compress
from compress.clock import Stopwatch

APP = """\
import json, os, sys
import compress

classifier = compress.load(os.environ["MODEL"], threads=int(os.environ["THREADS"]))

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    answers = classifier(json.load(environ["wsgi.input"]))
    return [json.dumps([os.getpid(), [answer.scores for answer in answers]]).encode()]
"""
TEXTS = ["good", "a very bad film with a dull story", "", "the film is boring " * 9] * 3


@pytest.mark.parametrize("threads", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_both_workers_answer_and_end(threads: int, tiny_onnx: Path, tmp_path: Path) -> None:
    pytest.importorskip("gunicorn")  # of the extra dev; not for Windows
    (tmp_path / "application.py").write_text(APP, encoding="utf-8")
    with compress.load(tiny_onnx, threads=1) as classifier:
        expected = [answer.scores for answer in classifier(TEXTS)]
    environment = os.environ | {"MODEL": str(tiny_onnx), "THREADS": str(threads)}
    command = [sys.executable, "-m", "gunicorn", "--preload", "--workers", "2", "--chdir", str(tmp_path)]
    body = json.dumps(TEXTS).encode()

    with socket.create_server(("127.0.0.1", 0)) as server:
        address = "http://{}:{}".format(*server.getsockname())
        command += ["--bind", f"fd://{server.fileno()}", "application:app"]
        with subprocess.Popen(command, env=environment, pass_fds=[server.fileno()]) as gunicorn:
            try:
                watch, workers = Stopwatch(), set[int]()
                with ThreadPoolExecutor(4) as clients:
                    while len(workers) < 2 and watch.seconds < 60:
                        for told in clients.map(lambda _: json.load(urlopen(address, body, timeout=60)), range(20)):
                            worker, scores = told
                            workers.add(worker)
                            assert scores == [pytest.approx(one, abs=1e-5) for one in expected]
                assert len(workers - {gunicorn.pid}) == 2
                gunicorn.terminate()
                assert gunicorn.wait(60) == 0
            finally:
                gunicorn.kill()
