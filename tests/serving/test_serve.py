"""The service, as a process on loopback: each request gets its own text's answer, or a plain refusal."""

import json
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

import compress
from compress.cli.main import main
from compress.errors import CompressError
from compress.folder import read_manifest, write_manifest
from compress.manifest_entries import NEVER
from compress.serving import server
from compress.serving.request_limits import RequestLimits
from tests.processes import wait_until
from tests.serving.service import AT_ONCE, Service, serving
from tests.tiny import read


@pytest.fixture(scope="module")
def service(tiny_int8: Path, tiny_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An int8 model, and another one that always abstains."""
    other = shutil.copytree(tiny_onnx, tmp_path_factory.mktemp("models") / "other")
    write_manifest(other, replace(read_manifest(other), decision={"abstain_below": NEVER}))
    with serving(tiny_int8, str(other), queue=1000, max_texts=300, max_body_bytes=1_000_000) as service:
        yield service


@pytest.fixture(scope="module")
def texts(tiny_data: Path) -> list[str]:
    data = read(tiny_data)
    return [str(text) for text in (*data.train.texts, *data.test.texts)]


def test_each_request_gets_the_answer_to_its_own_text(service: Service, texts: list[str], tiny_int8: Path) -> None:
    before = service.metric("classify_batch_texts_count{.*}"), service.metric("classify_batch_texts_sum{.*}")
    expected = compress.load(tiny_int8, threads=1)(texts)
    assert len({answer.score for answer in expected}) > len(texts) / 2  # else a mix-up would not show
    for (status, found, _), answer in zip(service.classify_all(texts), expected, strict=True):
        assert status == 200
        assert found["label"] == answer.label
        assert found["scores"] == pytest.approx(answer.scores, abs=1e-6)
        assert (found["score"], found["labels"]) == (pytest.approx(answer.score), list(answer.labels))
        assert found["abstained"] is answer.abstained is False
        assert list(found) == ["label", "score", "scores", "labels", "abstained"]
    batches = service.metric("classify_batch_texts_count{.*}") - before[0]
    assert service.metric("classify_batch_texts_sum{.*}") - before[1] == len(texts)
    assert batches < len(texts)  # some were answered together


def test_metrics_add_up(service: Service, texts: list[str]) -> None:
    patterns = [
        r'classify_requests_total{status="200"}',
        r'classify_requests_total{status="422"}',
        r"classify_seconds_count",
        r"classify_batch_texts_sum{.*}",
        r"classify_answers_total{.*}",
    ]
    before = [service.metric(pattern) for pattern in patterns]
    service.classify_all(texts[:30])
    service.classify_all([None, 3])
    found = [service.metric(pattern) - old for pattern, old in zip(patterns, before, strict=True)]
    assert found == [30, 2, 32, 30, 30]
    assert service.metric("classify_waiting_texts{.*}") == 0


@pytest.mark.parametrize(
    ("body", "status", "where"),
    [
        ({}, 422, "text or texts"),
        ({"text": None}, 422, "text or texts"),
        ({"text": "a", "texts": ["b"]}, 422, "text or texts"),
        ({"text": 3}, 422, "text: "),
        ({"text": ["a", "b"]}, 422, "text: "),
        ({"texts": ["a", 3]}, 422, "texts.1: must be a text, or for models of pairs a list of two"),
        ({"texts": [["a"]]}, 422, "texts.0: must be a text, or for models of pairs a list of two"),
        ({"texts": []}, 422, "one or more"),
        ({"texts": "a"}, 422, "texts: "),
        ({"texts": ["a"] * 301}, 413, "301 texts are too many at once; send at most 300"),
        ({"texts": ["a"] * 100_000}, 413, "100,000 texts are too many"),
        ({"text": "a" * 100_001}, 413, "100,001 characters; send at most 100,000"),
        ({"texts": ["a", "b" * 100_001]}, 413, "text 1 has"),
        ({"text": "a" * 2_000_000}, 413, "1,000,000 bytes"),
        ({"text": "a \ud83d film"}, 422, "surrogate"),
        ({"text": "a film", "text_pair": "a story"}, 422, "single texts"),
        ({"texts": [["a film", "a story"]]}, 422, "single texts"),
        ({"text": "a film", "more": 1}, 422, "more: "),
        (["a film"], 422, "the body: "),
        (b"", 422, "the body: "),
        (b"{", 400, "not JSON"),
        (b'{"text": "\xff"}', 400, ""),
        (b'{"text": "\\ud83d"}', 422, "surrogate"),
        (b"[" * 100_000, 400, ""),
        (b'{"text": ' + b"9" * 5_000 + b"}", 400, ""),
    ],
    ids=lambda value: str(value)[:30],
)
def test_bad_input_is_refused_in_one_line_and_does_no_harm(
    service: Service, body: object, status: int, where: str
) -> None:
    found, answer, _ = service.ask("POST", "/classify", body)
    assert (found, list(answer)) == (status, ["detail"]), answer
    assert where in answer["detail"]
    assert "\n" not in answer["detail"]
    assert service.classify("good")[0] == 200


def test_what_is_no_json_and_no_model_is_refused(service: Service) -> None:
    connection = HTTPConnection("127.0.0.1", service.port)
    connection.request("POST", "/classify", '{"text": "a"}', {"Content-Type": "text/plain"})
    answer = connection.getresponse()
    assert (answer.status, "content-type: application/json" in answer.read().decode()) == (415, True)
    assert service.ask("POST", "/models/absent/classify", {"text": "a"})[0] == 404
    assert service.ask("GET", "/classify")[0] == 405


@pytest.mark.parametrize("text", ["", " ", "\0", "\u202e\x1b[31m", "x" * 100_000, "Żółć 漢字 🎬"])
def test_odd_texts_are_answered(service: Service, text: str, tiny_int8: Path) -> None:
    status, found, _ = service.classify(text)
    assert status == 200
    assert found["scores"] == pytest.approx(compress.load(tiny_int8, threads=1)(text).scores, abs=1e-6)


def test_many_texts_are_answered_in_order_by_the_model_that_is_named(
    service: Service, texts: list[str], tiny_int8: Path, tiny_onnx: Path
) -> None:
    for path, model in {
        "/classify": tiny_int8,
        "/models/int8/classify": tiny_int8,
        "/models/other/classify": tiny_onnx,
    }.items():
        status, found, _ = service.ask("POST", path, {"texts": texts[:300]})
        assert status == 200
        expected = compress.load(model, threads=1)(texts[:300])
        assert [one["label"] for one in found] == [one.label for one in expected]
        assert [one["score"] for one in found] == pytest.approx([one.score for one in expected], abs=1e-5)
    assert [model["name"] for model in service.ask("GET", "/models")[1]] == ["int8", "other"]
    assert all(one["abstained"] for one in found)  # of the other, and so none counts under a label
    for label, counted in (("-", len(found)), ("[^-]+", 0)):
        assert service.metric(rf'classify_answers_total{{label="{label}",model="other"}}') == counted


def test_a_healthy_service_says_so_and_describes_itself(service: Service) -> None:
    assert service.ask("GET", "/healthz")[:2] == (200, {"alive": True})
    assert service.ask("GET", "/readyz")[:2] == (200, {"ready": True, "waiting": {"int8": 0, "other": 0}})
    described = service.ask("GET", "/openapi.json")[1]
    responses = {"200", "400", "404", "408", "413", "415", "422", "500", "503"}
    assert described["paths"]["/models/{name}/classify"]["post"]["responses"].keys() == responses
    assert described["paths"]["/classify"]["post"]["responses"].keys() == responses
    assert {"/models/{name}/classify", "/healthz", "/readyz", "/metrics"} <= described["paths"].keys()
    status, page, _ = service.ask("GET", "/")
    assert (status, "<textarea" in page, "http:" in page, "https:" in page) == (200, True, False, False)


def test_more_than_the_queue_holds_is_refused_and_the_rest_answered(tiny_int8: Path) -> None:
    long = [f"{'the film is boring ' * 600} {number}" for number in range(200)]  # each fills a batch
    with serving(tiny_int8, queue=1, max_texts=1) as service:
        found = service.classify_all(long)
        statuses = Counter(status for status, _, _ in found)
        assert set(statuses) == {200, 503}
        assert all("full" in answer["detail"] for status, answer, _ in found if status == 503)
        assert all(int(headers["retry-after"]) >= 1 for status, _, headers in found if status == 503)
        for status, count in statuses.items():
            assert service.metric(rf'classify_requests_total{{status="{status}"}}') == count
        assert service.metric("classify_batch_texts_count{.*}") == statuses[200]
        assert service.ask("GET", "/readyz")[0] == 200  # it has room again


def test_a_huge_body_costs_little_memory_and_sigterm_ends_python(tiny_int8: Path) -> None:
    block = b"x" * 1_000_000
    sent = 0

    def blocks() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(200):
            sent += 1
            yield block

    with serving(tiny_int8, real=True, max_body_bytes=1_000_000) as service:
        assert service.classify("good")[0] == 200
        before = service.resident_bytes
        try:
            status, found, _ = service.ask("POST", "/classify", blocks(), chunks=True)
            assert (status, "1,000,000 bytes" in found["detail"]) == (413, True)
        except (BrokenPipeError, ConnectionResetError):  # a client that does not listen while it sends
            assert sent > 1
        assert service.resident_bytes - before < 20_000_000
        with service.open(b"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n") as connection:
            assert b"413" in connection.recv(1000)  # before any of it is sent
        service.process.terminate()
        exit_status, said = service.ended()
        assert (exit_status, said.count("\n")) == (0, 1), said  # that it listens


def test_what_clients_that_leave_asked_for_is_dropped(tiny_int8: Path) -> None:
    slow = "the film is boring " * 5000
    body = json.dumps({"texts": [slow] * 250}).encode()
    head = (
        f"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with serving(tiny_int8, max_body_bytes=50_000_000) as service:
        connections = [service.open(head.encode() + body) for _ in range(3)]
        wait_until(lambda: service.ask("GET", "/readyz")[1]["waiting"]["int8"] > 250)
        for connection in connections:
            connection.close()
        wait_until(lambda: service.ask("GET", "/readyz")[1]["waiting"]["int8"] == 0)
        assert service.classify("good")[0] == 200
        wait_until(lambda: service.metric(r'classify_requests_total{status="499"}') == 3)
        assert service.metric("classify_batch_texts_sum{.*}") < 750


def test_what_counts_of_several_labels_are_those_that_were_given(
    task_onnx: Callable[[str], Path], texts: list[str], tmp_path: Path
) -> None:
    model = shutil.copytree(task_onnx("multi_label"), tmp_path / "model")
    with compress.load(model, threads=1) as classifier:
        median = sorted(answer.scores[classifier.labels[0]] for answer in classifier(texts))[len(texts) // 2]
    thresholds = dict(zip(classifier.labels, (median, 0, NEVER), strict=True))
    for least in (thresholds, dict.fromkeys(thresholds, NEVER)):
        write_manifest(model, replace(read_manifest(model), decision={"thresholds": least}))
        with compress.load(model, threads=1) as classifier:
            expected = Counter(label for answer in classifier(texts[:60]) for label in answer.labels or ("-",))
        with serving(model) as service:
            assert service.ask("POST", "/classify", {"texts": texts[:60]})[0] == 200
            for label in (*thresholds, "-"):
                written = re.escape(label.replace('"', '\\"'))
                assert service.metric(rf'classify_answers_total{{label="{written}",model="model"}}') == expected[label]


def test_pairs_are_two_texts(task_onnx: Callable[[str], Path]) -> None:
    model = task_onnx("pair_single_label")
    with serving(model) as service:
        expected = compress.load(model, threads=1)([("good", "bad")])[0]
        status, found, _ = service.ask("POST", "/classify", {"text": "good", "text_pair": "bad"})
        assert (status, found["scores"]) == (200, pytest.approx(expected.scores, abs=1e-5))
        status, found, _ = service.ask("POST", "/classify", {"texts": [["good", "bad"]]})
        assert (status, found[0]["scores"]) == (200, pytest.approx(expected.scores, abs=1e-5))
        status, found, _ = service.classify("good")
        assert status == 422
        assert "reads pairs" in found["detail"]


# How it ends ---------------------------------------------------------------------------------------------------------


def test_sigterm_under_load_loses_no_request(tiny_int8: Path, texts: list[str]) -> None:
    """Every request that a client could send is answered; then connections are refused."""
    told: Counter[str] = Counter()
    begun = threading.Event()

    def ask_until_refused(service: Service, number: int) -> None:
        while True:
            try:
                connection = HTTPConnection("127.0.0.1", service.port, timeout=60)
                connection.connect()
            except (ConnectionRefusedError, TimeoutError):
                return
            while connection.sock is not None:
                connection.request(
                    "POST", "/classify", json.dumps({"text": texts[number]}), {"Content-Type": "application/json"}
                )
                answer = connection.getresponse()
                answer.read()
                told[f"{answer.status}{' and goodbye' if connection.sock is None else ''}"] += 1
                if told["200"] > 300:
                    begun.set()
                if number % 3 == 0:
                    connection.close()  # one request a connection

    with serving(tiny_int8, drain_seconds=4) as service, ThreadPoolExecutor(AT_ONCE) as clients:
        asking = [clients.submit(ask_until_refused, service, number) for number in range(AT_ONCE)]
        assert begun.wait(60)
        service.process.terminate()
        for one in asking:
            one.result()  # no connection was reset
        assert service.ended()[0] == 0
    assert told.keys() == {"200", "200 and goodbye"}


HALVES = (
    b"POST /classify HT",
    b"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
    b"POST /classify HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
)


def test_sigterm_ends_a_service_with_half_a_request_open(tiny_int8: Path) -> None:
    with serving(tiny_int8, drain_seconds=1) as service:
        halves = [service.open(sent) for sent in HALVES]
        assert service.classify("good")[0] == 200
        service.process.terminate()
        status, said = service.ended()
        assert status == 0
        assert "Traceback" not in said
        assert said.count("\n") <= 2 * len(HALVES), said
        for half in halves:
            half.settimeout(5)
            answer = half.recv(1000)
            assert answer == b"" or answer.startswith(b"HTTP/1.1 503")


def test_while_it_ends_it_is_not_ready_and_answers(tiny_int8: Path) -> None:
    with serving(tiny_int8) as service:
        service.process.terminate()
        wait_until(lambda: service.ask("GET", "/readyz")[0] == 503)
        status, _, headers = service.classify("good")
        assert (status, headers["connection"]) == (200, "close")
        assert service.ended()[0] == 0
        with pytest.raises(ConnectionRefusedError):
            service.classify("good")


# What is refused before it begins ------------------------------------------------------------------------------------


def test_what_a_service_lacks_is_said_without_the_code_of_doctor(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom compress import machine\nfrom compress.cli.main import main\n"
        "machine.EXTRAS['serve'] = (*machine.EXTRAS['serve'], 'not_there')\n"
        "print(main(['serve', sys.argv[1]]), any(name.startswith('compress.doctor') for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout == "2 False\n"
    assert "serve: needs not_there; install it with pip install 'compress-bert[serve]'" in done.stderr


def test_a_second_service_is_refused_while_the_first_loads_its_models(
    tiny_int8: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": port,
        "threads": 1,
        "limits": RequestLimits(),
        "drain_s": 1.0,
    }

    def loading(*_: object, **__: object) -> None:
        with pytest.raises(CompressError, match="choose another --port"):
            server.serve([str(tiny_int8)], say_ready=print, **settings)
        raise CompressError("the first was loading")

    monkeypatch.setattr(server, "load", loading)
    with pytest.raises(CompressError, match="the first was loading"):
        server.serve([str(tiny_int8)], say_ready=print, **settings)


def test_what_cannot_be_served_is_refused_in_one_line(
    tiny_int8: Path, tiny_torch: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for arguments, word in (
            ([str(tiny_int8), "--port", port], "choose another --port"),
            ([str(tiny_int8), "--host", ".example"], "--host .example is no name of a machine"),
            ([str(tiny_int8), "--host", "256.1.1.1"], "--host"),
            ([str(tiny_int8), "--port", "70000"], "--port"),
            ([str(tiny_int8), str(tiny_int8)], 'two models are named "int8"'),
            ([f"a b={tiny_int8}"], "NAME="),
            ([str(tmp_path / "absent")], "no such folder"),
            ([str(tiny_torch)], "compress export"),
            ([str(tiny_int8), "--queue", "10"], "--max-texts"),
        ):
            assert main(["serve", *arguments]) == 2, arguments
            told = capsys.readouterr().err
            assert told.count("\n") == 1, told
            assert word in told
