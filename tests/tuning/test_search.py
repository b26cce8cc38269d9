"""The order of the tries, in worlds where every model's loss is known."""

from dataclasses import replace

import numpy as np
import pytest

from compress.graph.build import graph_of
from compress.latency.deployment import random_model
from compress.modeling.widths import Architecture, Cut, Widths
from compress.quantization.dynamic import QuantizationPlan, quantize_weights
from compress.tuning.candidates import ITSELF, Candidate, TeacherShape, candidates_of, depths, likeliest
from compress.tuning.goals import Goals
from compress.tuning.plans import Costs, Lengths, Plan, largest, plans, smallest_plan
from compress.tuning.search import Proposal, next_try
from compress.tuning.tries import Try, best, figures, front, shrunk_losses

MINILM = Architecture("bert", 384, 32, 30522, 512, 2, 77, "gelu")
COSTS = Costs(epoch_s=60.0, other_s=10.0)
LENGTHS = Lengths(20)
WITHIN_A_POINT = Goals(max_drop=1.0, latency_ms=None, megabytes=None, teacher_ms=8.0)


def candidates() -> list[Candidate]:
    half = Cut([list(range(6))] * 6, [list(range(768))] * 6)
    return candidates_of(TeacherShape(MINILM, Widths.even(6, 12, 1536)), {2.0: half})


def tried(candidate: Candidate, epochs: float, full: float, points: float = 0.4) -> Try:
    """Fast models lose more, and all lose less the longer they are trained."""
    loss = points * (1 / max(0.05, candidate.share) - 1) * (1 + 2 * (1 - epochs / full)) if candidate.command else 0.0
    ms = 0.1 + 1.4 * candidate.share
    is_variant = candidate.title != candidate.name  # of a model that is there
    return Try(
        candidate.title,
        epochs,
        value=0.9 - loss / 100,
        loss=loss,
        loss_ci95=(loss - 0.1, loss + 0.1),
        agreement=1 - loss / 40,
        ms=ms,
        ms_ci95=(ms, ms),
        megabytes=candidate.megabytes,
        seconds=COSTS.other_s if is_variant else COSTS.seconds(candidate, epochs),
    )


def made_before(proposal: Proposal) -> bool:
    """Variants are made from models that are there."""
    return proposal.candidate.title != proposal.candidate.name


def searched(wanted: Plan, goals: Goals, budget_s: float | None = None, points: float = 0.4) -> list[Try]:
    tries: list[Try] = []
    while True:
        left_s = None if budget_s is None else budget_s - sum(each.seconds for each in tries)
        if (chosen := next_try(wanted, tries, goals, COSTS, left_s, made_before)) is None:
            return tries
        tries.append(tried(chosen.candidate, chosen.epochs, wanted.rungs[-1], points))


def test_the_winner_is_the_fastest_within_the_goal_and_trained_to_the_end() -> None:
    wanted = Plan(candidates(), [2, 7, 20])
    tries = searched(wanted, WITHIN_A_POINT)
    at_the_end = {each.title: tried(each, 20, 20) for each in wanted.candidates}
    within = [each for each in at_the_end.values() if each.loss <= 1.0]
    chosen = best(tries, WITHIN_A_POINT)
    assert chosen is not None
    assert chosen.ms == min(each.ms for each in within)
    assert chosen.epochs == 20
    assert len({(each.candidate, each.epochs) for each in tries}) == len(tries)
    assert sum(each.epochs == 20 and each.candidate in at_the_end for each in tries) <= 3  # of eleven
    assert tries == searched(wanted, WITHIN_A_POINT)


def test_for_a_latency_the_most_accurate_is_chosen() -> None:
    goals = replace(WITHIN_A_POINT, max_drop=None, latency_ms=0.7)
    tries = searched(Plan(candidates(), [2, 7, 20]), goals)
    chosen = best(tries, goals)
    assert chosen is not None
    assert chosen.loss == min(each.loss for each in tries if each.ms <= 0.7)
    assert best(tries, replace(goals, latency_ms=0.01)) is None


def test_no_time_goes_to_what_can_never_be_small_or_fast_enough_while_something_can() -> None:
    shape = TeacherShape(MINILM, Widths.even(6, 12, 1536), smaller_vocabulary=9000, most_mb=10.0)
    rng, spared = np.random.default_rng(0), 0
    for _ in range(60):
        latency_ms, megabytes = rng.uniform(0.1, 2.0), rng.uniform(2.0, 20.0)
        goals = Goals(float(rng.uniform(0.1, 3.0)) if rng.random() < 0.5 else None, latency_ms, megabytes, 8.0)
        every = candidates_of(replace(shape, most_mb=megabytes), {})
        wanted = Plan(every, [1, 3, 9])
        tries = searched(wanted, goals, budget_s=float(rng.uniform(300, 3000)), points=float(rng.uniform(0.1, 3.0)))
        looks = [each for each in tries if each.epochs <= 1 and each.candidate in {one.title for one in every}]
        rest = [each for each in tries if each not in looks]
        can = {each.candidate for each in looks if each.ms <= 1.1 * latency_ms and each.megabytes <= megabytes}
        if can and len(can) < len(every):
            spared += 1
            assert all(any(each.candidate.startswith(name) for name in can) for each in rest)
    assert spared > 20


def test_what_was_timed_over_the_limit_is_dropped_only_where_its_interval_is_over_it_too() -> None:
    goals = replace(WITHIN_A_POINT, latency_ms=0.5)
    itself, fast, noisy = candidates()[:3]
    looks = [tried(itself, 0, 9), replace(tried(fast, 1, 9), ms=0.4, ms_ci95=(0.4, 0.4), loss=9.0)]
    for low_ms, wanted in ((0.54, noisy), (0.56, fast)):  # static activations may make it a tenth faster
        look = replace(tried(noisy, 1, 9), ms=0.6, ms_ci95=(low_ms, 0.7), loss=0.0)
        chosen = next_try(Plan([itself, fast, noisy], [1, 9]), [*looks, look], goals, COSTS, None, made_before)
        assert chosen == Proposal(wanted, 9)


def test_hours_that_are_left_are_not_for_students_behind_the_teacher_and_behind_one_that_does_not_fit() -> None:
    itself, small, *_, large = candidates()
    looks = [tried(itself, 0, 9), replace(tried(small, 1, 9), loss=30.0), replace(tried(large, 1, 9), loss=20.0)]
    wanted = Plan([itself, small, large], [1, 9])
    dear_s, cheap_s = (COSTS.seconds(each, 9) for each in (large, small))
    assert next_try(wanted, looks, WITHIN_A_POINT, COSTS, dear_s, made_before) == Proposal(large, 9)
    chosen = next_try(wanted, looks, WITHIN_A_POINT, COSTS, (cheap_s + dear_s) / 2, made_before)
    assert chosen is not None
    assert chosen.candidate.name == itself.name


def test_cascades_are_in_the_estimate_but_in_the_smallest_plan() -> None:
    alone, joined = (largest(plans(candidates(), LENGTHS, cascades), COSTS, None) for cascades in (0, 3))
    assert alone is not None
    assert joined is not None
    assert joined.seconds(COSTS) == alone.seconds(COSTS) + 3 * COSTS.cascade_s
    least = smallest_plan(candidates(), LENGTHS)
    assert largest(plans(candidates(), LENGTHS, 3), COSTS, least.seconds(COSTS)) == least


def test_a_student_is_trained_to_the_end_before_the_teacher_as_it_is_is_taken() -> None:
    tries = searched(Plan(candidates(), [2, 7, 20]), WITHIN_A_POINT, points=30.0)
    chosen = best(tries, WITHIN_A_POINT)
    assert chosen is not None
    assert chosen.candidate.startswith("teacher-int8")
    assert 1 <= [each.epochs for each in tries].count(20) <= 3


@pytest.mark.parametrize("minutes", [3, 8, 30])
def test_a_search_keeps_to_its_time_and_its_estimate(minutes: int) -> None:
    wanted = largest(plans(candidates(), LENGTHS, 0), COSTS, 60.0 * minutes)
    assert wanted is not None
    took_s = sum(each.seconds for each in searched(wanted, WITHIN_A_POINT, 60.0 * minutes))
    assert took_s <= 60 * minutes + 2 * COSTS.other_s  # the last model's variants
    assert took_s <= 1.4 * wanted.seconds(COSTS)


def test_the_smallest_plan_has_one_student_and_with_less_time_there_is_none() -> None:
    least = smallest_plan(candidates(), LENGTHS)
    needed_s = least.seconds(COSTS)
    assert [each.command for each in least.candidates] == ["", "prune"]
    assert least.rungs == [1]
    assert largest(plans(candidates(), LENGTHS, 0), COSTS, needed_s) == least
    assert largest(plans(candidates(), LENGTHS, 0), COSTS, needed_s - 1e-6) is None
    unlimited = largest(plans(candidates(), LENGTHS, 0), COSTS, None)
    assert unlimited == Plan(candidates(), [2, 7, 20])
    assert LENGTHS.rungs() == [2, 7, 20]
    assert Lengths(2).rungs() == [1, 2]


def test_the_fewer_are_tried_the_nearer_they_begin_to_the_teacher() -> None:
    """Cuts answer nearly as it does before any training, whole layers less so, narrower students not at all."""
    half = Cut([list(range(6))] * 6, [list(range(768))] * 6)
    every = candidates_of(
        TeacherShape(MINILM, Widths.even(6, 12, 1536)), dict.fromkeys((1.5, 2.0, 3.0, 4.5, 7.0), half)
    )
    for count in range(1, len(every)):
        itself, *others = likeliest(every, count)
        assert itself.name == "teacher-int8"
        assert len(others) == count
        assert others == [each for each in every if each in others]
        names = [each.name.split("-")[0] for each in others]
        assert names.count("cut") == min(5, count)
        assert names.count("narrow") == max(0, count - 10)
    assert likeliest(every[:6], 1)[1] in every[2:5]  # neither the cheapest nor the dearest


def test_where_texts_are_few_a_single_student_is_trained_long_before_several_are_trained_little() -> None:
    """Of 900 texts a first look reads 5,000: six epochs."""
    few = Lengths(20, 5000 / 900)
    assert few.rungs() == [7, 20]
    costs = Costs(epoch_s=25.0, other_s=40.0)
    found = [largest(plans(candidates(), few, 0), costs, 60.0 * minutes) for minutes in range(3, 40)]
    made = [each for each in found if each is not None]
    assert all(each.rungs[0] >= 6 for each in made)
    alone = [each.rungs[-1] for each in made if len(each.candidates) == 2]
    assert alone == sorted(alone)
    assert alone[0] < alone[-1]
    assert [len(each.candidates) > 2 for each in made] == [number >= len(alone) for number in range(len(made))]


@pytest.mark.parametrize("least", [1, 0.6, 0.077, 0.0123456])
def test_rungs_rise_to_the_full_length_in_whole_epochs_or_parts_of_one_that_tell_something(least: float) -> None:
    for full in range(1, 21):
        for share in (1.0, 0.45, 0.1, 0.0):
            found = Lengths(full, least).rungs(share)
            assert found == sorted(set(found))
            assert found[-1] == pytest.approx(max(least, share * full), rel=0.5)
            assert all(epochs >= 0.95 * least for epochs in found)
            assert all(isinstance(epochs, int) == (epochs >= 1) for epochs in found)
            assert all(len(str(epochs)) <= len("0.077") for epochs in found)
    assert Lengths(3, 0.077).rungs() == [0.33, 1, 3]


def test_where_texts_are_many_and_time_is_short_parts_of_an_epoch_let_more_candidates_be_tried() -> None:
    """Of 65,000 texts an epoch of the whole model takes an hour here."""
    costs, more = Costs(epoch_s=3600.0, other_s=20.0), 0
    for hours in (0.4, 0.6, 0.8, 1, 2, 4):
        whole, parts = (largest(plans(candidates(), Lengths(3, least), 0), costs, 3600 * hours) for least in (1, 0.077))
        assert parts is not None
        assert parts.seconds(costs) <= 3600 * hours
        assert parts.rungs[0] < 1
        assert whole is None or len(parts.candidates) >= len(whole.candidates)
        more += whole is None or len(parts.candidates) > len(whole.candidates)
    assert more >= 2


def test_a_look_that_was_shorter_than_the_plan_wants_is_no_obstacle() -> None:
    """As a search that is asked again with more hours finds them."""
    looks = [replace(tried(each, 0.1, 3), loss=5.0) for each in candidates()]
    chosen = next_try(Plan(candidates(), [0.15, 0.45, 1]), looks, WITHIN_A_POINT, COSTS, 0.0, lambda *_: False)
    assert chosen is None or not chosen.candidate.command


def test_what_goes_on_from_a_plan_repeats_none_of_its_looks() -> None:
    every = candidates()
    done = Plan([every[0], *every[2:5]], [0.1, 0.3], 2)
    looks = [tried(each, 0.1, 1) for each in done.candidates]
    larger = Plan(likeliest(every, 7), [0.15, 0.45, 1], 0)
    found = larger.after(done, looks)
    assert found.rungs == [0.1, 0.15, 0.45, 1]
    assert larger.after(done, [*looks, tried(done.candidates[-1], 0.3, 1)]).rungs == [0.1, 0.3, 0.45, 1]
    assert found.cascades == 2
    assert [each for each in every if each in found.candidates] == found.candidates
    assert {each.title for each in done.candidates} <= {each.title for each in found.candidates}
    chosen = next_try(found, looks, WITHIN_A_POINT, COSTS, None, made_before)
    assert chosen is not None
    assert chosen.candidate not in done.candidates
    assert done.after(done, [*looks, tried(done.candidates[-1], 0.3, 1)]) == done


def test_of_a_plan_that_is_partly_done_the_rest_is_left_and_what_was_too_dear_of_it_is_not_counted_as_done() -> None:
    wanted = Plan([candidates()[0], *candidates()[2:5]], [2, 7, 20])
    tries: list[Try] = []
    left_s = [wanted.seconds(COSTS)]
    while (chosen := next_try(wanted, tries, WITHIN_A_POINT, COSTS, None, made_before)) is not None:
        tries.append(tried(chosen.candidate, chosen.epochs, 20))
        left_s.append(wanted.seconds(COSTS, tries))
    assert left_s == sorted(left_s, reverse=True)
    assert left_s[-1] < left_s[0] / 2
    looks = tries[: len(wanted.candidates)]
    affordable = COSTS.seconds(wanted.candidates[-1], 7)
    after = [each.after(wanted, looks) for each in plans(candidates(), LENGTHS, 0)]
    found = largest(after, COSTS, affordable, looks)
    assert found is not None
    assert found.seconds(COSTS, looks) <= affordable
    assert largest(after, COSTS, affordable) is None  # nothing is done yet


def test_a_model_that_meets_the_goal_and_cannot_be_trained_longer_gets_its_variants_and_no_slower_one_does() -> None:
    itself, small, *_ = candidates()
    looks = [tried(itself, 0, 20), replace(tried(small, 7, 20), loss=0.6)]

    def chosen(is_there: bool) -> tuple[str, float] | None:
        left_s = 3 * COSTS.other_s
        found = next_try(
            Plan([itself, small], [7, 20]),
            looks,
            WITHIN_A_POINT,
            COSTS,
            left_s,
            lambda each: is_there and each.epochs == 7,
        )
        return None if found is None else found.key

    assert chosen(True) == (f"{small.name}-fewer-words", 7)
    assert chosen(False) is None
    looks[1] = replace(looks[1], loss=5.0)  # only the teacher is within a point
    assert chosen(True) == (f"{itself.name}-fewer-words", 0)


def test_without_time_the_model_as_it_is_stands_alone() -> None:
    for wanted in (Plan(candidates()[:1], [1]), Plan(candidates(), [2, 7, 20])):
        assert [each.candidate for each in searched(wanted, WITHIN_A_POINT, budget_s=0.0)] == ["teacher-int8"]


def test_a_failed_try_is_not_repeated_and_does_not_end_the_search() -> None:
    wanted = Plan(candidates(), [2, 7])
    failed = [Try(each.title, 2, failed="no room") for each in wanted.candidates[1:4]]
    chosen = next_try(wanted, failed, WITHIN_A_POINT, COSTS, None, made_before)
    assert chosen is not None
    assert chosen.candidate.title == "teacher-int8"
    assert front(failed, WITHIN_A_POINT) == []
    assert best(failed, WITHIN_A_POINT) is None


def test_the_smallest_is_in_front_where_there_is_a_goal_for_the_size() -> None:
    fast, good, small, worst = (
        Try(name, 0, ms=ms, loss=loss, megabytes=size)
        for name, ms, loss, size in [("fast", 1, 3, 9), ("good", 2, 1, 9), ("small", 3, 4, 5), ("worst", 4, 4, 6)]
    )
    tries = [worst, small, good, fast]
    assert front(tries, WITHIN_A_POINT) == [fast, good]
    assert front(tries, replace(WITHIN_A_POINT, megabytes=5.0)) == [fast, good, small]


def test_another_ask_looks_at_nothing_again_and_a_training_that_is_gone_must_fit() -> None:
    tries = searched(Plan(candidates(), [2, 7, 20]), WITHIN_A_POINT)
    for shorter in ([1, 4, 12], [2, 7]):
        chosen = next_try(Plan(candidates(), shorter), tries, WITHIN_A_POINT, COSTS, None, made_before)
        assert chosen is None or chosen.epochs > shorter[0]
    first = [tried(each, 2, 20) for each in candidates()]
    goals = replace(WITHIN_A_POINT, max_drop=None, latency_ms=0.5)  # no student needs more than its first look
    for is_there, left_s, wanted in ((True, 15.0, True), (False, 15.0, False), (False, 200.0, True)):
        chosen = next_try(Plan(candidates(), [1, 2]), first, goals, COSTS, left_s, lambda *_, there=is_there: there)
        assert (chosen is not None) == wanted


def test_costs_are_learned_from_what_tries_took() -> None:
    every = candidates()
    took = [replace(tried(each, 2, 20), train_s=2 * (COSTS.seconds(each, 2) - 10)) for each in every[1:3]]
    took = [replace(each, seconds=each.train_s + 20) for each in took]
    learned = COSTS.learned(took, every)
    assert learned.epoch_s == pytest.approx(2 * COSTS.epoch_s)
    assert learned.other_s == pytest.approx(20)
    first = replace(took[0], train_s=took[0].train_s + 2 * 100)  # which had to wait for the teacher's answers
    with_answers = replace(COSTS, answers_s=100).learned([first, took[1]], every)
    assert with_answers.epoch_s == pytest.approx(2 * COSTS.epoch_s)
    wanted = Plan(every, [2, 7, 20])
    assert wanted.seconds(replace(COSTS, answers_s=100)) == pytest.approx(wanted.seconds(COSTS) + 100)
    assert wanted.seconds(replace(COSTS, answers_s=100), took) == pytest.approx(wanted.seconds(COSTS, took))


def test_the_luckiest_of_many_alike_is_not_taken_for_the_best() -> None:
    """Forty models that all lose a point: the best looking seems to gain, until its deviation is taken for chance."""
    rng, texts = np.random.default_rng(0), 400
    tries = []
    for number in range(40):
        worse, better = rng.binomial(texts, [0.03, 0.02])
        loss, changed = 100 * (worse - better) / texts, (worse + better) / texts
        reach = 196 * np.sqrt(changed / texts)
        tries.append(
            Try(str(number), 1, loss=loss, loss_ci95=(loss - reach, loss + reach), agreement=1 - changed, ms=1.0)
        )
    assert min(each.loss for each in tries) < -0.5
    assert min(shrunk_losses(tries)) > 0.3


def test_cascades_keep_their_own_losses_and_change_no_others() -> None:
    singles = [tried(each, 2, 20) for each in candidates()]
    joined = Try("both", 0, small="a", large="b", loss=0.7, loss_ci95=(-1.0, 2.4), agreement=0.9, ms=0.3)
    *others, own = figures([*singles, joined])
    assert others == figures(singles)
    assert [each.loss for each in others] != [each.loss for each in singles]
    assert own.loss == 0.7


@pytest.mark.parametrize("untrained", [0, 1, 3])
@pytest.mark.parametrize("texts", [111, 1500])
def test_shrunk_losses_are_nearer_to_the_truth_and_untrained_models_do_not_matter(texts: int, untrained: int) -> None:
    rng = np.random.default_rng(0)
    errors = []
    for _ in range(300):
        good = rng.integers(5, 15)
        differing = np.concatenate([rng.uniform(0.005, 0.12, good), rng.uniform(0.3, 0.9, untrained)])
        net = np.concatenate([np.clip(rng.normal(rng.uniform(0.3, 0.7), 0.25, good), -0.3, 1), np.full(untrained, 0.9)])
        tries = []
        for number, (rate, share) in enumerate(zip(differing, net, strict=True)):
            worse, better, alike = rng.multinomial(
                texts, [rate * (1 + share) / 2, rate * (1 - share) / 2, 1 - rate]
            ).tolist()
            loss = 100 * (worse - better) / texts
            reach = 196 * np.sqrt((worse + better + 1) / texts - (loss / 100) ** 2) / np.sqrt(texts)
            interval = (loss - reach, loss + reach)
            tries.append(Try(str(number), 1, loss=loss, loss_ci95=interval, agreement=alike / texts, ms=1.0))
        true, measured = 100 * differing * net, np.array([each.loss for each in tries])
        errors.append(((shrunk_losses(tries) - true)[:good], (measured - true)[:good]))
    of_shrunk, of_measured = (float(np.mean(np.concatenate(found) ** 2)) for found in zip(*errors, strict=True))
    assert of_shrunk < of_measured


def test_candidates_of_deep_and_shallow_models() -> None:
    assert depths(6) == [1, 2, 3, 4, 5]
    assert depths(12) == [1, 2, 3, 6, 8, 11]
    assert depths(1) == []
    names = [each.title for each in candidates()]
    assert names[0] == "teacher-int8"
    assert len(set(names)) == len(names)
    shares = [each.share for each in candidates()[1:]]
    assert shares == sorted(shares)
    no_heads = Cut([[]] * 6, [list(range(768))] * 6)  # which no recipe can name
    assert not any(
        each.command == "prune"
        for each in candidates_of(TeacherShape(MINILM, Widths.even(6, 12, 1536)), {7.0: no_heads})
    )


def test_models_that_would_be_too_large_get_fewer_words() -> None:
    shape = TeacherShape(MINILM, Widths.even(6, 12, 1536), smaller_vocabulary=9000, most_mb=10.0)
    found = {each.title: each for each in candidates_of(shape, {})}
    assert found["layers-2-fewer-words"].cuts_vocabulary
    assert found["layers-2-fewer-words"].megabytes < 10
    assert "narrow-2x192" in found
    steps = found["layers-2-fewer-words"].steps("teacher", 3, {}, {})
    assert [step["step"] for step in steps.values()] == ["distill", "prune", "quantize"]
    assert steps["layers-2-fewer-words-3-epochs"]["model"] == "layers-2-3-epochs-words"


def test_models_that_would_be_too_large_with_fewer_words_get_int4_embeddings() -> None:
    shape = TeacherShape(MINILM, Widths.even(6, 12, 1536), smaller_vocabulary=9000)
    for most_mb in (4.0, 6.0, 8.0):
        small = {each.name: each for each in candidates_of(replace(shape, most_mb=most_mb), {})}
        without = {each.name: each for each in candidates_of(replace(shape, most_mb=most_mb, smaller_vocabulary=0), {})}
        for found, vocabulary in ((small, 9000), (without, MINILM.vocabulary)):
            itself = found.pop(ITSELF)
            assert itself.embeddings == "int8"  # it is too large in int4 as well
            for each in found.values():
                words = vocabulary * (192 if "narrow" in each.name else MINILM.hidden_size) / 1e6
                if each.embeddings == "int4":
                    assert each.megabytes + words / 2 > most_mb
                    assert each.title.endswith("-int4")
                    assert each.steps("teacher", 3, {}, {})[each.label(3)]["embeddings"] == "int4"
                else:
                    assert each.megabytes <= most_mb
                    assert "embeddings" not in each.steps("teacher", 3, {}, {})[each.label(3)]
        assert {each.embeddings for each in small.values()} == {"int8", "int4"}


@pytest.mark.parametrize("layers", [1, 6])
def test_the_size_of_a_model_is_known_before_it_is_made(layers: int) -> None:
    shape, widths = replace(MINILM, vocabulary=8000), Widths.even(layers, 8, 512)
    fp32 = graph_of(random_model(shape, widths))
    for most_mb in (100.0, 0.1):
        named = TeacherShape(shape, widths, most_mb=most_mb).candidate("name", "", {})
        plan = QuantizationPlan(int4_words=named.embeddings == "int4")
        size = quantize_weights(fp32, plan).ByteSize() / 1e6
        assert named.megabytes == pytest.approx(size, rel=0.04)
