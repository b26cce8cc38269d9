"""What `compress auto` found beside what users would do without it, at the same training time.

    python -m benchmarks.auto_beside SEARCH_FOLDER TEACHER --data D [--seeds 0]
                                     [--out FOLDER] [--results benchmarks/results/auto_beside.jsonl]

``SEARCH_FOLDER`` is of a search that is over, such as benchmarks.auto leaves. Three ways are taken beside it: the
demo's recipe (half the layers, then a quarter of the heads and half the neurons), ``prune --speedup`` alone and fewer
layers alone. The last two are made as fast as auto's winner, from text to answer on the validation texts; the recipe is
as fast as it is. Each is trained with auto's settings, so long that all of it takes as long as the search took, and
quantized. Then they answer the test texts and are timed in turns with auto's winner and the teacher, once for each
seed of the trainings. Adds a line to the results for each way, with the reason under ``failed`` where it is refused;
what has lines is not done again, and what was interrupted goes on. Prints the table of all lines.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import compress
from benchmarks.auto_beside_aim import WAYS, Search, Settings, Trainings, aimed, quantized
from benchmarks.auto_beside_table import table
from benchmarks.kept import RESULTS, add_line, commit, read_last
from compress.benchmark.report.speedup import answer_ms
from compress.errors import CompressError
from compress.folder import read_manifest
from compress.progress import quietly, say
from compress.tuning.candidates import ITSELF
from compress.tuning.teacher import student_settings

_KEYS = ("search", "seed", "way")
_MOST_EPOCHS = 1000  # that a training may have


def compare(search: Search, seed: int) -> Iterator[Settings]:
    """The ways as fast as auto's winner, trained as long as auto searched, then all benched: a line for each."""
    about: Settings = {"search": search.name, "seed": seed}
    made, minutes = {"auto": search.best}, search.won["search_s"] / 60
    told: dict[str, Settings] = {"auto": {"how": search.won["model"], "epochs": None, "minutes": minutes}}
    for way in WAYS:
        try:
            trainings, epochs = planned(search, way)
            say(f"{search.name}: {described(trainings)}, {epochs} epochs")
            made[way], seconds = make(search, trainings, epochs, seed, search.out / f"{way}-{seed}")
            told[way] = {"how": described(trainings), "epochs": epochs, "minutes": seconds / 60}
        except CompressError as error:
            yield about | {"way": way, "failed": str(error)}
    for way, found in benched(search, made, search.out / f"report-{seed}").items():
        yield about | {"way": way} | told[way] | found


def planned(search: Search, way: str) -> tuple[Trainings, int]:
    """The trainings of a way, and the epochs of each for which all of it takes as long as auto; looked for once."""
    path = search.out / f"{way}.json"
    if not path.exists():
        with quietly():
            trainings = aimed(search, way)
            short_s, long_s = (
                make(search, trainings, epochs, 0, search.out / f"{way}-{epochs}-epochs")[1] for epochs in (1, 3)
            )
        epoch_s = max(1e-3, (long_s - short_s) / 2)
        epochs = min(_MOST_EPOCHS, max(1, round(1 + (search.won["search_s"] - short_s) / epoch_s)))
        path.write_text(json.dumps([trainings, epochs]), encoding="utf-8")
    trainings, epochs = json.loads(path.read_text(encoding="utf-8"))
    return trainings, epochs


def make(search: Search, trainings: Trainings, epochs: int, seed: int, out: Path) -> tuple[Path, float]:
    """The int8 model of a way, and what making it took; what is there of it is left as it is."""
    context = search.context
    own = student_settings(context.checkpoint, context.data) | {"epochs": epochs, "patience": 2 * epochs + 1}
    own |= {"seed": seed, "threads": context.threads, "metric": context.config.metric}
    model = context.teacher
    for command, settings in trainings:
        made = out / command
        if not made.exists() and command == "distill":
            compress.distill(model, search.data, made, **(own | settings))
        elif not made.exists():
            compress.prune(model, search.data, made, teacher=str(context.teacher), **(own | settings))
        model = made
    int8 = quantized(search, model, out / "int8")
    return int8, sum(step["seconds"] for step in read_manifest(int8).history[len(context.checkpoint.history) :])


def benched(search: Search, made: dict[str, Path], out: Path) -> dict[str, Settings]:
    """Each model against the teacher, and against that in int8, on the test texts."""
    context = search.context
    models = {"teacher": context.teacher, ITSELF: context.tries / ITSELF} | made
    compress.bench(
        [*models.values()], search.data, out, threads=[context.threads], metric=context.metric, overwrite=True
    )
    report = json.loads((out / "results.json").read_text(encoding="utf-8"))
    by_path = {entry["path"]: entry for entry in report["models"]}
    entries = {way: by_path[str(path)] for way, path in models.items()}
    return {
        way: {
            "test_loss": -100 * entries[way]["versus_first"]["accuracy_delta"],
            "test_loss_ci95": [-100 * bound for bound in reversed(entries[way]["versus_first"]["ci95"])],
            "answer_ms": answer_ms(entries[way]),
            "speedup": entries[way]["versus_first"]["speedup_answer"],
            "speedup_over_int8": answer_ms(entries[ITSELF]) / answer_ms(entries[way]),
            "megabytes": entries[way]["size_bytes"] / 1e6,
            **{name: report[name] for name in ("test_texts", "busy", "machine", "created")},
            "commit": commit(),
        }
        for way in made
    }


def described(trainings: Trainings) -> str:
    """The commands as one would type them."""
    return ", ".join(" ".join([name, *(f"--{key} {given[key]:g}" for key in given)]) for name, given in trainings)


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("search", type=Path, metavar="SEARCH_FOLDER")
    parser.add_argument("teacher", type=Path, metavar="TEACHER")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--out", type=Path, help="for the models; default: beside SEARCH_FOLDER")
    parser.add_argument("--results", type=Path, default=RESULTS / "auto_beside.jsonl")
    given = parser.parse_args(arguments)
    out = given.out or given.search.with_name(f"{given.search.name}-beside")
    try:
        search = Search.of(given.search, given.teacher, given.data, out)
        for seed in given.seeds:
            if not any((row["search"], row["seed"]) == (search.name, seed) for row in read_last(given.results, _KEYS)):
                for row in list(compare(search, seed)):  # all at once: a seed that has a line is not done again
                    add_line(given.results, row)
    except CompressError as error:
        parser.error(str(error))
    print(table(read_last(given.results, _KEYS)))


if __name__ == "__main__":
    main()
