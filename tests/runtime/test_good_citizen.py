"""A classifier can be copied, pickled, forked, spawned and closed while it is used."""

import copy
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import compress
from compress.clock import Stopwatch
from compress.errors import CompressError
from compress.limits import Limits
from compress.runtime import session
from compress.runtime.classifier import Classifier

TEXTS = ["good", "a very bad film with a dull story", "", "the film is boring " * 9, "great film"] * 2
WAYS: list[Any] = [
    {"threads": 1},
    *(pytest.param({"threads": 2, **each}, marks=pytest.mark.slow) for each in ({}, {"instances": 2})),
    {"threads": 4, "instances": 2},
]
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


@pytest.fixture(params=WAYS, ids=str)
def classifier(request: pytest.FixtureRequest, tiny_onnx: Path) -> Classifier:
    return compress.load(tiny_onnx, **request.param)


def ends_with(child: Callable[[], bool]) -> int:
    """The exit status of a forked process: 0 if ``child`` holds there, 9 if it hangs."""
    process = os.fork()
    if process == 0:
        status = 1
        try:
            status = 0 if child() else 3
        finally:
            os._exit(status)
    watch = Stopwatch()
    while (ended := os.waitpid(process, os.WNOHANG))[0] == 0:
        if watch.seconds > 60:
            os.kill(process, signal.SIGKILL)
        threading.Event().wait(0.02)
    return os.waitstatus_to_exitcode(ended[1])


def test_copies_answer_alike_and_live_on_their_own(classifier: Classifier) -> None:
    expected = classifier.logits(TEXTS)
    others = [copy.deepcopy(classifier), copy.copy(classifier), pickle.loads(pickle.dumps(classifier))]
    classifier.close()
    for other in others:
        assert np.array_equal(other.logits(TEXTS), expected)


def test_where_there_are_fewer_cpus_it_takes_fewer(tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with compress.load(tiny_onnx, threads=2, instances=2) as classifier:
        opened = pickle.loads(pickle.dumps(classifier)).logits(TEXTS)
        monkeypatch.setattr(session, "usable_cpus", lambda: 1)
        few = session.OnnxPredictor.open(tiny_onnx, instances=2)
        assert (few.threads, few.instances) == (1, 1)
        assert np.array_equal(Classifier(few).logits(TEXTS), opened)


def test_another_model_in_its_folder_is_not_taken_for_it(tiny_onnx: Path, tiny_int8: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_onnx, folder)
    pickled = pickle.dumps(compress.load(folder, threads=1))
    shutil.rmtree(folder)
    shutil.copytree(tiny_int8, folder)
    with pytest.raises(CompressError, match="holds another model than when the classifier was loaded"):
        pickle.loads(pickled)


@forks
def test_it_answers_after_forks_and_in_the_parent_too(classifier: Classifier) -> None:
    expected = classifier.logits(TEXTS)

    def child() -> bool:
        within = [np.array_equal(classifier.logits(TEXTS), expected)]
        return all(within) and ends_with(lambda: np.array_equal(classifier.logits(TEXTS), expected)) == 0

    assert [ends_with(child), ends_with(child)] == [0, 0]
    assert np.array_equal(classifier.logits(TEXTS), expected)


@forks
@pytest.mark.parametrize(
    ("threads", "ask"),
    [
        (2, ""),
        (2, "classifier('good'); "),
        pytest.param(1, "", marks=pytest.mark.slow),
        pytest.param(1, "classifier('good'); ", marks=pytest.mark.slow),
    ],
)
def test_a_forked_worker_ends_with_its_status(tiny_onnx: Path, threads: int, ask: str) -> None:
    program = (
        "import compress, os, sys\n"
        f"classifier = compress.load(sys.argv[1], threads={threads})\n"
        f"if os.fork() == 0: {ask}print('done'); sys.exit(7)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))"
    )
    command = [sys.executable, "-c", program, str(tiny_onnx)]
    ended = subprocess.run(command, check=False, timeout=60, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (7, "done\n"), ended.stderr


def _answer(classifier: Classifier) -> list[str]:
    return [answer.label for answer in classifier(TEXTS)]


def test_a_spawned_process_gets_it_by_its_folder(tiny_onnx: Path) -> None:
    classifier = compress.load(tiny_onnx, threads=1)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert pool.submit(_answer, classifier).result(120) == _answer(classifier)


def _ask_until_closed(classifier: Classifier, begun: threading.Barrier, ends: list[str]) -> None:
    begun.wait()
    try:
        while True:
            classifier(TEXTS * 120)
    except CompressError as error:
        ends.append(str(error))


@pytest.mark.parametrize("settings", WAYS, ids=str)
def test_closing_while_others_ask_ends_in_answers_or_the_error(tiny_onnx: Path, settings: dict[str, int]) -> None:
    for _ in range(3):
        classifier = compress.load(tiny_onnx, **settings)
        begun, ends = threading.Barrier(4), list[str]()
        threads = [threading.Thread(target=_ask_until_closed, args=(classifier, begun, ends)) for _ in range(3)]
        for thread in threads:
            thread.start()
        begun.wait()
        classifier.close()
        for thread in threads:
            thread.join(60)
        assert ends == ["the classifier is closed; load it again"] * 3


def test_a_container_with_too_little_memory_is_told_of_and_no_other(
    tiny_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(tiny_onnx, tmp_path / "model")
    (folder / "onnx" / "model_other.onnx").symlink_to("nowhere")  # only the graph that is loaded is looked at
    for limit, told in ((64 * 2**20, True), (64 * 2**30, False), (None, False)):
        monkeypatch.setattr(session, "find_limits", lambda limit=limit: Limits(1, limit_bytes=limit))
        with compress.load(folder, threads=1) as classifier:
            assert classifier("a film").label
        said = capsys.readouterr().err
        assert ("the container grants 64;" in said) is told, said
