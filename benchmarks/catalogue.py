"""Every benchmark: what it shows, how to run it, what it leaves, what of it is quick. README.md is made from this."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from benchmarks.kept import RESULTS, conditions, markdown, read


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One line of README.md.

    Attributes:
        what: what it shows.
        command: as it is typed in the repository's root, on the demo's models or a published one, and the data in
            ``../shared/data``.
        keeps: what it leaves in ``results/``, with ``*`` where that is a file a data set or kind; None: it prints.
        printed: what it prints is what is kept.
        quick: the part of it that ``make bench-quick`` runs, ``{out}`` being a file for its results.
        elsewhere: it needs a machine or models that ``make bench`` does not have.
        instead: what the run that is kept had in the place of what the command says; to be removed once it is run so.
    """

    what: str
    command: str
    keeps: str | None = None
    printed: bool = False
    quick: str | None = None
    elsewhere: bool = False
    instead: str | None = None


DEMO, SHARED = "runs/demo/data", "../shared/data"
TEACHER, PRUNED, ONNX, INT8 = (f"runs/demo/{name}" for name in ("teacher", "pruned", "onnx", "int8"))
GOEMOTIONS = "runs/together/goemotions/teacher-0"
BANKING77 = "models/banking77/balanced"  # what the figures of serving are of: every clone has it
BENCHMARKS = (
    Benchmark("the demo's table", "compress demo --out runs/demo", "demo.json"),
    Benchmark("the demo on 2 cores with VNNI", "compress demo --out runs/demo", "demo-vnni.json", elsewhere=True),
    Benchmark(
        "the pipeline on SST-2",
        "compress run benchmarks/sst2.yaml --out runs/sst2",
        "sst2.json",
        instead="the teacher by `compress finetune` with the recipe's settings, taken into the run",
    ),
    Benchmark(
        "other tools beside ours",
        f"python -m benchmarks.peers {TEACHER} {DEMO} --ours {INT8}",
        "peers.json",
        quick=f"python -m benchmarks.peers {TEACHER} {DEMO} --ours {INT8} --only 'PyTorch fp32' 'stock ONNX int8' "
        "'TF-IDF + logistic' --rounds 2 --texts 100 --work {out}.work --out {out}",
    ),
    Benchmark(
        "how cost grows with texts, units and cores",
        f"python -m benchmarks.scaling runs/sst2/teacher runs/sst2/int8 --data {SHARED}/sst2",
        "scaling.json",
        instead="`--minutes 8`; the teacher as in the pipeline's line above",
        quick=f"python -m benchmarks.scaling {TEACHER} {INT8} --data {DEMO} --minutes 3 --out {{out}}",
    ),
    Benchmark(
        "what students keep, three seeds on four data sets",
        "python -m benchmarks.distillation",
        "distillation/*.json",
        instead="one seed of GoEmotions' students of two layers",
    ),
    Benchmark(
        "predicted against measured latency of twelve models",
        f"python -m benchmarks.latency_table {TEACHER} --data {DEMO}",
        "latency_table.json",
        quick=f"python -m benchmarks.latency_table {TEACHER} --data {DEMO} --out {{out}}",
    ),
    Benchmark(
        "pruning to a latency, against uniform pruning and fewer layers",
        "python -m benchmarks.pruning make && python -m benchmarks.pruning measure",
        "pruning/*/*.json",
        instead="one seed of uniform pruning and of fewer layers; with VNNI one seed at 1.5x, without VNNI 1.5x alone",
    ),
    Benchmark(
        "training against TextBrewer's `GeneralDistiller`",
        "python -m benchmarks.textbrewer_speed runs/sst2/teacher",
        "textbrewer.json",
        instead="512 texts, in one round",
    ),
    Benchmark(
        "the int8 graph against the stock export's and OpenVINO's",
        "python -m benchmarks.graphs prepare --student runs/sst2/student && python -m benchmarks.graphs measure",
        "graphs.json",
    ),
    Benchmark(
        "texts in bulk, against plain onnxruntime and optimum",
        f"python -m benchmarks.throughput_peers {INT8}",
        "throughput_peers.json",
        printed=True,
        instead="one round",
    ),
    Benchmark(
        "int8 answers on an emulated CPU without VNNI",
        f"python -m benchmarks.portable runs/sst2/student {SHARED}/sst2",
        "portable.jsonl",
        elsewhere=True,
        instead="`runs/distillation/sst2/3-layers-distilled-0`",
    ),
    Benchmark(
        "one BERT's weights in other families' forms, through the pipeline",
        "python -m benchmarks.families",
    ),
    Benchmark(
        "a vocabulary of XLM-R's size, cut for English data",
        "python -m benchmarks.large_vocabulary",
        "large_vocabulary.json",
    ),
    Benchmark(
        "loading against `transformers.pipeline`, from start to first answer, page cache warm and empty",
        f"python -m benchmarks.cold_start {PRUNED} {INT8}",
        "cold_start.json",
        quick=f"python -m benchmarks.cold_start {PRUNED} {INT8} --rounds 2 --out {{out}}",
        instead="a 6-layer MiniLM, in 4 rounds",
    ),
    Benchmark(
        "`predict`'s memory over a million lines",
        f"python -m benchmarks.predict_lines {INT8}",
        "predict_lines.jsonl",
        printed=True,
    ),
    Benchmark(
        "memory of a loaded model over 100,000 texts of mixed length",
        f"python -m benchmarks.resident {BANKING77}",
        "resident.json",
        quick=f"python -m benchmarks.resident {BANKING77} --texts 5000 --out {{out}}",
        instead="the first of its three ways alone",
    ),
    Benchmark(
        "MB and ms with 0.5, 1 and 2 CPUs",
        f"python -m benchmarks.container {BANKING77}",
        "container.json",
        quick=f"python -m benchmarks.container {BANKING77} --texts 200 --rounds 1 --out {{out}}",
    ),
    Benchmark(
        "Spark and Ray in local mode over 100,000 rows, with 1 and 2 workers",
        f"python -m benchmarks.clusters {BANKING77}",
        "clusters.json",
        elsewhere=True,
    ),
    Benchmark(
        "a service under load, against bulk throughput",
        f"python -m benchmarks.serving {BANKING77} {SHARED}/banking77/test.csv",
        "serving*.json",
    ),
    Benchmark(
        "thresholds by label against 0.5 for all, macro-F1 on test",
        f"compress calibrate {GOEMOTIONS} --data {SHARED}/goemotions --out runs/thresholds/calibrated && "
        f"compress bench {GOEMOTIONS} runs/thresholds/calibrated --data {SHARED}/goemotions --metric macro_f1 "
        "--out runs/thresholds/report",
        "thresholds.json",
        elsewhere=True,
        instead="an earlier program in bench's place",
    ),
    Benchmark(
        "texts read in part: the same tokens, and how much sooner an answer",
        f"python -m benchmarks.partial_tokenizing {SHARED} {INT8}",
        "partial_tokenizing.json",
    ),
    Benchmark(
        "bench finds no difference where there is none (A/A)",
        f"python -m benchmarks.a_a {INT8} --data {DEMO} && "
        f"python -m benchmarks.a_a {INT8} --data {DEMO} --neighbours 1",
        "a_a.jsonl",
        instead="18 runs of `sst2-int8` and 10 of `demo int8`",
    ),
    Benchmark(
        "bench's latency against other clocks",
        f"python -m benchmarks.outside_clock {ONNX} {INT8} --data {DEMO}",
        "outside_clock.jsonl",
        instead="14 rounds of `sst2/int8`, `sst2/onnx` and `demo/int8`",
    ),
    Benchmark("how often its intervals hold the truth", "python -m benchmarks.coverage", "coverage.jsonl"),
    Benchmark(
        "which checkpoint to keep where validation texts are few",
        f"python -m benchmarks.checkpoint_choice runs/checkpoint_choice.json {TEACHER} --data {DEMO}",
    ),
    Benchmark(
        "odd inputs: answered right, refused or wrong, now and before",
        "python -m benchmarks.odd_inputs --against d737081",
        "odd_inputs.json",
    ),
    Benchmark(
        "what `auto` finds on four data sets, and whether its promises hold", "python -m benchmarks.auto", "auto.jsonl"
    ),
    Benchmark(
        "what a rate, epochs and hidden states give students and pruned models, on validation texts",
        "python -m benchmarks.student_choices runs/demo",
        "student_choices.jsonl",
        instead="the sets of benchmarks.promise, one seed, some of the models and ways, "
        "and day, machine and what ran beside were written into it afterwards",
    ),
    Benchmark(
        "whether the loss that `auto` promises holds on test: winners over small sets",
        "python -m benchmarks.promise",
        "promise.jsonl",
        instead="`--hours 0.15` in the first 7 of 12 searches, earlier code in the first 6",
    ),
    Benchmark(
        "`auto` beside the demo's recipe, `prune --speedup` and fewer layers, each trained as long as it searched",
        "python -m benchmarks.auto_beside runs/auto/mrpc/max_drop-1-seed-0 runs/auto/mrpc/teacher "
        f"--data {SHARED}/mrpc",
        "auto_beside.jsonl",
        instead="Banking77, of which 12 labels and 900 texts",
    ),
    Benchmark(
        "teachers, students of two layers and searches on four data sets, side by side on one GPU",
        f"python -m benchmarks.together runs/together --data {SHARED}",
        "together.jsonl",
        elsewhere=True,
    ),
    Benchmark(
        "what each step buys: one left out at a time, three seeds on two data sets",
        f"python -m benchmarks.ablation runs/ablation --data {SHARED}",
        "ablation.jsonl",
    ),
    Benchmark(
        "every published model made again by its recipe, see [models/](../models/README.md)",
        f"python -m benchmarks.models check --data {SHARED}",
    ),
    Benchmark(
        "a cascade against its two models: accuracy on test, mean time, share handed on",
        " && ".join(
            f"python -m benchmarks.cascade runs/pruning/{name}/ours-5x-0/int8 runs/pruning/{name}/teacher-1x-0/int8 "
            f"--data {SHARED}/{name} --max-drop {points} --keep benchmarks/results/cascade/{name}.json"
            for name, points in (("sst2", 0.3), ("banking77", 0.4))  # the least that validation texts can show
        ),
        "cascade/*.json",
        instead="small models that `auto` cut",
    ),
    Benchmark(
        "long documents: their head, both ends, windows, against 512 tokens; accuracy and text to answer",
        "python -m benchmarks.long_texts",
        "long_texts.json",
    ),
    Benchmark(
        "what each way to train faster or in less memory gives",
        "python -m benchmarks.training_speed runs/training_speed.json",
    ),
    Benchmark(
        "every family's int8 graph against a stock export of the same weights",
        "python -m benchmarks.family_speed",
        "family_speed.json",
    ),
    Benchmark(
        "a run killed, or its disk full or broken, at many of its file operations",
        "python -m tests.faults --points 400 --keep benchmarks/results/faults.json",
        "faults.json",
    ),
    Benchmark(
        "files that users write, fuzzed",
        "python -m tests.fuzz --cases 100000 --keep benchmarks/results/fuzz",
        "fuzz/*.json",
        instead="six of the kinds, those of data as they were fuzzed before",
    ),
    Benchmark(
        "random changes to finished folders and caches",
        "python -m tests.tamper --changes 2000 --keep benchmarks/results/tamper.json",
        "tamper.json",
    ),
    Benchmark(
        "commands that meet in one folder, or in one cache",
        "python -m tests.rounds --rounds 1000 --keep benchmarks/results/rounds.json",
        "rounds.json",
    ),
    Benchmark(
        "answers of a loaded model and minutes of a service: whether all are right, and how memory grows",
        f"python -m tests.soak {INT8} --predictions 1000000 --minutes 10 --keep benchmarks/results/soak.json",
        "soak.json",
    ),
    Benchmark(
        "speed on an H100, in 11 minutes, see [gpu/README.md](gpu/README.md)",
        "python -m benchmarks.gpu",
        "gpu.json",
        elsewhere=True,
        instead="parts of three machines, by `--parts`",
    ),
    Benchmark(
        "the same on an H200",
        "python -m benchmarks.gpu --out benchmarks/results/gpu-h200.json",
        "gpu-h200.json",
        elsewhere=True,
        instead="two of the timing parts, one of which was cut off",
    ),
    Benchmark(
        "what each change to fine-tuning gives, on validation, see [LOG.md](LOG.md)",
        f"python -m benchmarks.training_choices --data {SHARED} --device cuda",
        "training_choices*.jsonl",
        elsewhere=True,
        instead="an earlier program, rates from 8e-5 to 3.2e-4 and other changes",
    ),
)


def table() -> str:
    """A line a benchmark, with the machine, versions, threads and digest of what is kept."""
    heads = ("what", "command", "kept", "measured on")
    return markdown([heads, *map(_cells, BENCHMARKS)], words=len(heads))


def kept_files(benchmark: Benchmark) -> list[Path]:
    """The files in ``results/`` that it left; none where it was never kept."""
    return sorted(RESULTS.glob(benchmark.keeps)) if benchmark.keeps else []


def _cells(benchmark: Benchmark) -> tuple[str, str, str, str]:
    command, files = f"`{benchmark.command}`", kept_files(benchmark)
    if not benchmark.keeps:
        return benchmark.what, command, "printed", "nothing is kept"
    if not files:
        return benchmark.what, command, f"`results/{benchmark.keeps}`", "not yet measured"
    digests = ", ".join(hashlib.sha256(path.read_bytes()).hexdigest()[:8] for path in files)
    instead = [f"by the command, but with {benchmark.instead}"] if benchmark.instead else []
    where = "; ".join([*instead, *dict.fromkeys(map(conditions_of, files))])
    return benchmark.what, command, f"`results/{benchmark.keeps}` ({digests})", where


def conditions_of(path: Path) -> str:
    """Those that a result tells, or its first line."""
    found = read(path)
    return conditions(found[0] if isinstance(found, list) else found)
