"""A loaded model that threads share, asked for long: is every answer right, and does memory stay?"""

import os
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any

import compress
from compress.clock import Stopwatch
from tests.soak.answers import Answers
from tests.soak.memory import Memory

_SAMPLES = 400
_GROUPS = (1, 1, 1, 1, 8, 64)  # texts of a call


def soak_predictions(model: Path, predictions: int, threads: int) -> dict[str, Any]:
    """Ask ``predictions`` texts, alone and in groups, from so many threads at once; memory is told by 1,000 of them."""
    with compress.load(model, threads=1) as classifier:
        answers = Answers(classifier)
        memory, lock, watch = Memory(os.getpid()), Lock(), Stopwatch()
        done = wrong = 0

        def ask(seed: int) -> None:
            nonlocal done, wrong
            rng = random.Random(seed)
            while done < predictions:
                numbers = answers.draw(rng, rng.choice(_GROUPS))
                texts = [answers.texts[number] for number in numbers]
                found = classifier(texts) if len(texts) > 1 else [classifier(texts[0])]
                missed = answers.wrong(numbers, [one.scores for one in found])
                with lock:
                    done, wrong = done + len(numbers), wrong + missed
                    if done * _SAMPLES >= len(memory.samples) * predictions:
                        memory.sample(done / 1000)

        with ThreadPoolExecutor(threads) as workers:
            list(workers.map(ask, range(threads)))
        return {
            "predictions": done,
            "threads": threads,
            "wrong": wrong,
            "seconds": round(watch.seconds, 1),
            "memory_by_1000_predictions": memory.growth(),
        }
