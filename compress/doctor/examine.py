"""Doctor's findings, in order: the machine, the installed packages, and a model."""

from pathlib import Path

from compress.clock import Stopwatch
from compress.doctor.speed import Finding, explain_speed
from compress.errors import CompressError
from compress.folder import LARGE, MANIFEST, SMALL, Manifest, model_of_search, read_manifest
from compress.limits import Limits, find_limits
from compress.machine import EXTRAS, cpu_flags, describe_machine, int8_flags, lacking, usable_cpus


def examine(model: Path | None) -> list[Finding]:
    """Findings about this machine, and about a model folder if one is given."""
    return [*_machine(), *(_extra(name) for name in EXTRAS), *(_model(model) if model else ())]


def _machine() -> list[Finding]:
    machine = describe_machine([usable_cpus()])
    fast = int8_flags(machine["cpu_flags"])
    if fast:
        int8 = f"int8 is fast here ({', '.join(fast)})"
    elif cpu_flags():
        int8 = (
            "has no int8 dot products (VNNI): int8 models are hardly faster here and may answer a little differently; "
            "bench before you choose"
        )
    else:
        int8 = "this system does not tell whether int8 is fast here; bench before you choose"
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version)
    return [
        Finding(
            "cpu",
            f"{machine['cpu']}, {', '.join(machine['cpu_flags']) or 'instruction sets unknown'}; {int8}",
            figures={"flags": machine["cpu_flags"], "int8": fast},
        ),
        _limits(find_limits()),
        Finding("gpu", machine["gpu"] or "none; everything runs on the CPU"),
        Finding("versions", versions),
    ]


def _limits(limits: Limits) -> Finding:
    """The CPUs and memory that this process may use, and what to change if a container grants parts of a CPU."""
    quota, threads = limits.quota_cpus, f"{limits.cpus} thread{'s' if limits.cpus > 1 else ''}"
    cpus = f"{limits.affinity_cpus} CPUs that this process may run on"
    if quota is not None:
        cpus += f", of which the container grants the time of {quota:g}"
    advice = ""
    if quota is not None and quota < 1:
        advice = "; an answer waits for most of each period: grant at least 1 CPU"
    elif quota is not None and quota > limits.cpus and quota < limits.affinity_cpus:
        advice = f"; grant a whole number, since no thread uses the rest of {quota:g}"
    kind = "that the container grants" if limits.limit_bytes else "of the machine's"
    memory = f"{limits.memory_bytes / 2**30:.2g} GiB {kind}" if limits.memory_bytes else "unknown"
    return Finding("limits", f"{cpus}: {threads} by default{advice}; memory: {memory}", ok=quota is None or quota >= 1)


def _extra(name: str) -> Finding:
    if missing := lacking(name):
        return Finding(name, f"lacks {', '.join(missing)}; pip install 'compress-bert[{name}]'", ok=False)
    return Finding(name, "installed")


def _model(folder: Path) -> list[Finding]:
    if not (folder / MANIFEST).is_file() and (folder / "config.json").is_file():
        text = (
            f"a Hugging Face model without {MANIFEST}; distill, prune, export, quantize, calibrate, auto, check and "
            "bench take it as it is"
        )
        return [Finding("model", text)]
    if not (folder / MANIFEST).is_file():
        give = model_of_search(folder) or "one that a step wrote, or a Hugging Face one"
        raise CompressError(f"{folder}: not a model folder; give {give}")
    try:
        manifest = read_manifest(folder)
    except CompressError as error:
        return [Finding("model", str(error), ok=False)]
    about = (
        f"whole; {manifest.kind}, {manifest.task.replace('_', ' ')}, {len(manifest.labels)} labels, "
        f"{manifest.parameters:,} parameters, {sum(file.bytes for file in manifest.files) / 1e6:.1f} MB, "
        f"made by {', '.join(entry['step'] for entry in manifest.history)}"
    )
    return [Finding("model", about), *_speed(folder, manifest)]


def _speed(folder: Path, manifest: Manifest) -> list[Finding]:
    if manifest.kind not in ("torch", "onnx"):
        return [Finding("serving", f"laid out for others to run ({manifest.kind}); its README.md says how")]
    if manifest.kind == "torch":
        return [
            Finding(
                "serving", f"a PyTorch model; make one to serve with: compress quantize {folder} --data D --out DIR"
            )
        ]
    if manifest.is_cascade:
        return [_cascade(folder)]
    from compress.runtime.graph_file import choose_graph
    from compress.runtime.session import OnnxPredictor

    watch = Stopwatch()
    try:
        predictor = OnnxPredictor.open(folder)
    except CompressError as error:
        return [Finding("serving", str(error), ok=False)]
    loaded = f"loads in {watch.milliseconds:.0f} ms"
    serving = Finding("serving", f"{predictor.precision} on {predictor.provider}: {predictor.reason}; {loaded}")
    precision = predictor.precision
    del predictor  # its threads would spin while explain_speed times other sessions
    return [serving, *explain_speed(choose_graph(folder).graph, precision, manifest.max_length)]


def _cascade(folder: Path) -> Finding:
    """Whether a cascade loads here; doctor on each of its models' folders says how fast that model is."""
    from compress.runtime.classifier import load

    watch = Stopwatch()
    try:
        with load(folder) as classifier:
            loaded = f"{classifier.reason}; loads in {watch.milliseconds:.0f} ms"
    except CompressError as error:
        return Finding("serving", str(error), ok=False)
    return Finding("serving", f"{loaded}; look at each model: compress doctor {folder / SMALL}, and {LARGE}")
