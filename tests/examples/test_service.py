"""The service, as a process on loopback: each request gets its own text's answer, or a plain refusal."""

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

import compress
from compress.modeling.checkpoint import save_checkpoint
from tests.tiny import make_bert, make_checkpoint, read

HERE = Path(__file__).parents[2] / "examples" / "service"
AT_ONCE = 24


class Service:
    """One that runs."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.port = port

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any, dict[str, str]]:
        """Status, content and headers."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        content = body if isinstance(body, bytes) else json.dumps(body)
        connection.request(method, path, content, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        is_json = answer.headers.get_content_type() == "application/json"
        return answer.status, json.loads(text) if is_json else text, dict(answer.headers)

    def classify(self, text: object) -> tuple[int, Any, dict[str, str]]:
        return self.ask("POST", "/classify", {"text": text})

    def classify_all(self, texts: Sequence[str]) -> list[tuple[int, Any, dict[str, str]]]:
        """Of many clients at once."""
        with ThreadPoolExecutor(AT_ONCE) as clients:
            return list(clients.map(self.classify, texts))

    def metric(self, pattern: str) -> float:
        """The sum of the series whose names and labels match."""
        page = self.ask("GET", "/metrics")[1]
        return sum(map(float, re.findall(rf"^{pattern} (\S+)$", page, re.MULTILINE)))


@contextmanager
def serving(model: Path, **settings: object) -> Iterator[Service]:
    uvicorn = [sys.executable, "-m", "uvicorn", "--app-dir", str(HERE), "--factory", "app:create"]
    command = [*uvicorn, "--port", "0", "--no-access-log"]
    environment = {f"SERVICE_{name.upper()}": str(value) for name, value in {"model": model, **settings}.items()}
    with subprocess.Popen(command, env=os.environ | environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if found := re.search(r"running on http://127\.0\.0\.1:(\d+)", line):
                break
        else:
            pytest.fail("".join(said))
        try:
            yield Service(process, int(found[1]))
        finally:
            process.kill()


@pytest.fixture(scope="module")
def service(tiny_int8: Path) -> Iterator[Service]:
    with serving(tiny_int8, waiting=1000) as service:
        yield service


@pytest.fixture(scope="module")
def texts(tiny_data: Path) -> list[str]:
    data = read(tiny_data)
    return [str(text) for text in (*data.train.texts, *data.test.texts)]


def test_each_request_gets_the_answer_to_its_own_text(service: Service, texts: list[str], tiny_int8: Path) -> None:
    before = service.metric("classify_batch_texts_count"), service.metric("classify_batch_texts_sum")
    expected = compress.load(tiny_int8, threads=1)(texts)
    assert len({answer.score for answer in expected}) > len(texts) / 2  # else a mix-up would not show
    for (status, found, _), answer in zip(service.classify_all(texts), expected, strict=True):
        assert status == 200
        assert found["label"] == answer.label
        assert found["scores"] == pytest.approx(answer.scores, abs=1e-6)
        assert (found["score"], found["labels"]) == (pytest.approx(answer.score), list(answer.labels))
        assert found["abstained"] is answer.abstained is False
    batches = service.metric("classify_batch_texts_count") - before[0]
    assert service.metric("classify_batch_texts_sum") - before[1] == len(texts)
    assert batches < len(texts)  # some were answered together


def test_metrics_add_up(service: Service, texts: list[str]) -> None:
    patterns = [
        r'classify_requests_total{status="200"}',
        r'classify_requests_total{status="422"}',
        r"classify_seconds_count",
        r"classify_batch_texts_sum",
        r"classify_answers_total{.*}",
    ]
    before = [service.metric(pattern) for pattern in patterns]
    service.classify_all(texts[:30])
    service.classify_all([None, 3])  # type: ignore[list-item]
    found = [service.metric(pattern) - old for pattern, old in zip(patterns, before, strict=True)]
    assert found == [30, 2, 32, 30, 30]
    assert service.metric("classify_waiting_texts") == 0


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({}, "text"),
        ({"text": None}, "text"),
        ({"text": 3}, "text"),
        ({"text": ["a", "b"]}, "text"),
        ({"text": "a" * 100_001}, "text"),
        ({"text": "a \ud83d film"}, "text"),
        ({"text": "a film", "text_pair": "a story"}, "single texts"),
        (["a film"], "body"),
        (b"{", "body"),
        (b'{"text": "\xff"}', "body"),
        (b'{"text": "\\ud83d"}', ""),
    ],
)
def test_bad_input_is_refused_and_does_no_harm(service: Service, body: object, where: str) -> None:
    status, found, _ = service.ask("POST", "/classify", body)
    assert status in (400, 422) if isinstance(body, bytes) else status == 422, found
    assert where in json.dumps(found["detail"])
    assert service.classify("good")[0] == 200


@pytest.mark.parametrize("text", ["", " ", "\0", "\u202e\x1b[31m", "x" * 100_000, "Żółć 漢字 🎬"])
def test_odd_texts_are_answered(service: Service, text: str, tiny_int8: Path) -> None:
    status, found, _ = service.classify(text)
    assert status == 200
    assert found["scores"] == pytest.approx(compress.load(tiny_int8, threads=1)(text).scores, abs=1e-6)


def test_a_healthy_service_says_so(service: Service) -> None:
    assert service.ask("GET", "/health")[:2] == (200, {"alive": True})
    assert service.ask("GET", "/ready")[:2] == (200, {"waiting": 0})


def test_more_than_the_queue_holds_is_refused_and_the_rest_answered(tiny_int8: Path) -> None:
    long = [f"{'the film is boring ' * 30} {number}" for number in range(200)]
    with serving(tiny_int8, waiting=1, batch_characters=1) as service:
        found = service.classify_all(long)
        statuses = Counter(status for status, _, _ in found)
        assert set(statuses) == {200, 503}
        assert all("busy" in answer["detail"] for status, answer, _ in found if status == 503)
        assert all(int(headers["retry-after"]) >= 1 for status, _, headers in found if status == 503)
        for status, count in statuses.items():
            assert service.metric(rf'classify_requests_total{{status="{status}"}}') == count
        assert service.metric("classify_batch_texts_count") == statuses[200]  # a text a batch, as was asked
        assert service.ask("GET", "/ready")[0] == 200  # it has room again


def test_a_batch_waits_for_others_where_told_to(tiny_int8: Path, texts: list[str]) -> None:
    with serving(tiny_int8, wait_ms=400) as service:
        service.classify_all(texts[:AT_ONCE])
        assert service.metric("classify_batch_texts_count") <= 3


def test_sigterm_answers_what_was_accepted_and_ends(tiny_int8: Path, texts: list[str]) -> None:
    with serving(tiny_int8, wait_ms=1500) as service, ThreadPoolExecutor(AT_ONCE) as clients:
        asked = [clients.submit(service.classify, text) for text in texts[:AT_ONCE]]
        while service.ask("GET", "/ready")[1]["waiting"] < AT_ONCE:
            assert not any(one.done() for one in asked), "answered before the signal"
        service.process.send_signal(signal.SIGTERM)
        assert [one.result()[0] for one in asked] == [200] * AT_ONCE
        assert service.process.wait(30) in (0, -signal.SIGTERM)
        with pytest.raises(ConnectionRefusedError):
            service.classify("good")


def test_pairs_are_two_texts(tiny_encoder: Path, tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tiny_encoder, make_bert(labels=3, seed=3), ("x", "y", "z"), "pair_single_label")
    save_checkpoint(checkpoint, tmp_path / "torch")
    compress.export(tmp_path / "torch", tmp_path / "onnx")
    with serving(tmp_path / "onnx") as service:
        status, found, _ = service.ask("POST", "/classify", {"text": "good", "text_pair": "bad"})
        assert status == 200
        expected = compress.load(tmp_path / "onnx", threads=1)([("good", "bad")])[0]
        assert found["scores"] == pytest.approx(expected.scores, abs=1e-5)
        status, found, _ = service.classify("good")
        assert (status, found["detail"]) == (422, "this model reads pairs: give text and text_pair")


def test_the_load_test_finds_all_answers_right(
    service: Service, texts: list[str], tiny_int8: Path, tmp_path: Path
) -> None:
    (tmp_path / "texts.txt").write_text("\n".join(texts), encoding="utf-8")
    url = f"http://127.0.0.1:{service.port}"
    command = [sys.executable, str(HERE / "load.py"), url, str(tiny_int8), str(tmp_path / "texts.txt")]
    finished = subprocess.run(
        [*command, "--requests", "300", "--rate", "300"], capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    found = json.loads(finished.stdout)
    assert (found["statuses"], found["wrong"], found["missing"]) == ({"200": 300}, 0, 0)
    assert 0 < found["p50_ms"] <= found["p99_ms"] <= found["max_ms"]


def test_the_load_test_sees_wrong_answers(service: Service, tiny_onnx: Path, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("a good film\na dull mess", encoding="utf-8")
    url = f"http://127.0.0.1:{service.port}"
    texts = tmp_path / "texts.txt"
    command = [sys.executable, str(HERE / "load.py"), url, str(tiny_onnx), str(texts), "--requests", "20"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 1
    assert json.loads(finished.stdout)["wrong"] == 20
