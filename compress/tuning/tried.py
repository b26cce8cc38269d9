"""One try: a model is made, then judged; what fails is a try too."""

from collections.abc import Callable
from dataclasses import replace

from compress.clock import Stopwatch
from compress.decisions.cascade import DoesNotPayError
from compress.decisions.hand_on import NotShownError
from compress.errors import CompressError
from compress.progress import quietly
from compress.tuning.candidates import Candidate
from compress.tuning.cascades import Pair, join
from compress.tuning.goals import points
from compress.tuning.ground import Ground
from compress.tuning.judge import Judge
from compress.tuning.tries import Try


def make_and_judge(ground: Ground, judge: Judge, candidate: Candidate, epochs: float) -> Try:
    """A candidate after so many epochs."""

    def make() -> float:
        done = ground.run(ground.steps_of(candidate, epochs))
        return sum(result.seconds for result in done.values() if result.step == candidate.command)

    return _tried(ground, judge, Try(candidate.title, epochs), make)


def join_and_judge(ground: Ground, judge: Judge, pair: Pair) -> Try:
    """Two models that were tried before, as a cascade; one that is refused is refused for good."""

    def make() -> float:
        join(ground, pair)
        return 0.0

    return _tried(ground, judge, pair.about, make)


def _tried(ground: Ground, judge: Judge, about: Try, make: Callable[[], float]) -> Try:
    """``make`` returns the seconds that training took."""
    watch, train_s = Stopwatch(), 0.0
    try:
        with quietly():
            train_s = make()
            found = judge.judged(ground.tries / about.label, about)
    except DoesNotPayError:
        found = replace(about, failed="it does not pay", final=True)
    except NotShownError:
        few = f"too few texts to show that it keeps to {points(about.max_drop)}"
        found = replace(about, failed=few, final=True)
    except CompressError as error:
        found = replace(about, failed=str(error))
    return replace(found, seconds=watch.seconds, train_s=train_s)
