"""The steps that make a model ready to serve: export and quantize."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from compress.config import ExportConfig, QuantizeConfig
from compress.errors import CompressError
from compress.evaluation.metrics import training_metric
from compress.folder import MANIFEST, Manifest, read_manifest, refuse_cascade
from compress.paths import local_path
from compress.progress import say
from compress.runtime.graph_file import FP16_GRAPH, FP32_GRAPH, INT8_GRAPH
from compress.runtime.long_texts import LongTexts
from compress.steps.step import Job, StepResult, check_labels, data_step, step
from compress.task import is_multi_label

# fp16 keeps 11 bits of each number. Two trained MiniLMs moved by 0.0013 on a CPU, where weights alone are rounded; on a
# GPU every operation rounds. 0.05 in a logit is 1.25 points of probability at most.
PARITY_TOLERANCE = {"fp32": 1e-4, "fp16": 5e-2}


def export(model: str | Path, out: str | Path, *, overwrite: bool = False, **settings: Any) -> StepResult:
    """Write the model as an ONNX graph with PyTorch's logits (fp32: within 1e-4), or in the layout of another program.

    Args:
        model: folder or hub id of a fine-tuned classifier; for a single file or a server's layout also an ONNX
            folder of ours, whose int8 graph is taken where it has one.
        out: the folder to write.
        overwrite: replace ``out`` if compress made it.
        **settings: those of :class:`compress.config.ExportConfig`.
    """
    with step(ExportConfig, settings, out, overwrite, inputs=(model,)) as job:
        if job.config.layout != "onnx":
            return _lay_out(job, model)

        import onnx

        from compress.families.view import EncoderView
        from compress.graph.build import graph_of
        from compress.graph.checks import check_parity, check_patterns, expected_patterns, parity_batches
        from compress.graph.fp16 import check_range, to_fp16
        from compress.modeling.checkpoint import load_classifier
        from compress.modeling.torch_predictor import TorchPredictor
        from compress.packaging import layout
        from compress.runtime.session import OnnxPredictor

        checkpoint = load_classifier(str(model), pairs=job.config.pairs)
        manifest, view = checkpoint.manifest("onnx"), EncoderView(checkpoint.model)
        # Where a whole row is masked, eager attention averages all tokens, as our graph does; other implementations
        # give 0.
        checkpoint.model.set_attn_implementation("eager")
        torch, built = TorchPredictor(checkpoint), graph_of(checkpoint.model)
        shapes = view.words.num_embeddings, view.longest
        metrics: dict[str, Any] = {}
        if fp16 := job.config.precision == "fp16":
            metrics["largest_activation"] = check_range(built, parity_batches(torch, *shapes), job.threads)
            built = to_fp16(built)
        graph = job.folder / (FP16_GRAPH if fp16 else FP32_GRAPH)
        graph.parent.mkdir()
        onnx.save(built, graph)
        exported = OnnxPredictor(graph, manifest, checkpoint.encoder, job.threads)
        metrics |= asdict(check_parity(torch, exported, *shapes, PARITY_TOLERANCE[job.config.precision]))
        if not fp16:  # ONNX Runtime has no fp16 kernels on a CPU to count
            metrics |= check_patterns(graph, expected_patterns(built))
        layout.write_side_files(checkpoint, job.folder)
        return job.save_onnx(manifest, metrics, checkpoint.digest, checkpoint.source)


def quantize(
    model: str | Path, data: str | Path, out: str | Path, *, overwrite: bool = False, **settings: Any
) -> StepResult:
    """Write the model as an int8 ONNX graph, compared with the fp32 one on validation texts.

    Its logits are divided by a temperature that is fitted on those texts, so that scores are probabilities.

    Args:
        model: an exported folder, or a PyTorch one, which is exported first.
        data: texts and labels, as for :func:`finetune`.
        out: the folder to write.
        overwrite: replace ``out`` if compress made it.
        **settings: those of :class:`compress.config.QuantizeConfig`.
    """
    with data_step(QuantizeConfig, settings, data, out, overwrite, inputs=(model,)) as job:
        import onnx

        from compress.graph.checks import check_patterns, expected_patterns
        from compress.packaging import layout
        from compress.quantization.accuracy_gate import SAMPLED_TEXTS
        from compress.quantization.accuracy_gate import quantize as core
        from compress.quantization.reference import evenly, reference_outputs
        from compress.quantization.temperature import fit_temperature, fold_temperature
        from compress.runtime.session import OnnxPredictor

        dataset = job.dataset
        with exported(model, job, pairs=dataset.pairs) as (parent, manifest):
            if FP32_GRAPH not in manifest.names:
                form = "in fp16" if FP16_GRAPH in manifest.names else "quantized already"
                raise CompressError(f"{model}: is {form}; give the fp32 ONNX folder or the PyTorch one")
            check_labels(manifest, dataset, str(model))
            fp32 = OnnxPredictor.of_graph(parent, manifest, parent / FP32_GRAPH, job.threads)
            metric = job.config.metric or training_metric(manifest.history)
            reference = reference_outputs(fp32, dataset.validation, metric)
            source = onnx.load(parent / FP32_GRAPH)
            texts = dataset.train.texts
            calibration = fp32.encoder([texts[row] for row in evenly(len(texts), SAMPLED_TEXTS)])
            quantized = core(source, reference, calibration, job.config, job.threads)
            fitted = fit_temperature(quantized.logits, reference.targets, manifest.task)
            graph = job.folder / INT8_GRAPH
            graph.parent.mkdir()
            onnx.save(fold_temperature(quantized.model, fitted.temperature), graph)
            metrics = quantized.as_metrics() | asdict(fitted)
            if job.config.for_ is None:  # else it is laid out for other runtimes
                metrics |= check_patterns(graph, expected_patterns(source, quantized.accepted.kept_fp32))
            layout.copy_side_files(parent, job.folder)
            layout.set_decision(job.folder, None)
        sizes = {"bytes": graph.stat().st_size, "parent_bytes": fp32.size_bytes}
        return job.save_onnx(_without_decision(manifest, str(model)), metrics | sizes, manifest.digest, str(model))


def _without_decision(manifest: Manifest, model: str) -> Manifest:
    if manifest.decision is not None:
        say(f"quantize: leaves out {own_decision(manifest, model)}; calibrate the int8 model")
    return replace(manifest, decision=None)


def own_decision(manifest: Manifest, model: str | Path) -> str:
    """The decision of a model in words: it was chosen on the model's own scores, and holds for no other's."""
    if is_multi_label(manifest.task):
        return f"the thresholds of {model}, which hold for its own scores"
    return f"the score below which {model} abstains, which holds for its own scores"


def _lay_out(job: Job[ExportConfig], model: str | Path) -> StepResult:
    """Write the model as a single file, or in the folders where a server looks."""
    from compress.graph.checks import check_answers
    from compress.packaging.layout import PACKAGES, graph_to_lay_out
    from compress.runtime.session import OnnxPredictor

    layout = job.config.layout
    with exported(model, job, pairs=job.config.pairs, allow_cascade=layout == "single_file") as (parent, manifest):
        if not (reads := LongTexts.of(manifest)).head_alone:
            raise CompressError(
                f"{model}: reads long texts by {reads.mode}, and as {layout} only their beginning would be read; serve "
                "its ONNX folder, or train with --long-texts head"
            )
        if not manifest.is_cascade:  # a cascade's models have answered validation texts
            predictor = OnnxPredictor.of_graph(parent, manifest, graph_to_lay_out(parent), job.threads)
            check_answers(predictor, f"export: {model}")
        graph = PACKAGES[layout](parent, manifest, job.folder)
    if manifest.is_cascade:
        manifest = replace(manifest, decision=None)  # the file decides by itself
    return job.save_onnx(manifest, {"bytes": graph.stat().st_size}, manifest.digest, str(model), kind=layout)


@contextmanager
def exported(
    model: str | Path, job: Job[Any], *, pairs: bool, allow_cascade: bool = False
) -> Iterator[tuple[Path, Manifest]]:
    """The folder of ``model`` where it is an ONNX one, else a temporary export, and its manifest.

    A cascade is refused unless ``allow_cascade``.
    """
    folder = local_path(model)
    own = folder / MANIFEST
    if own.is_file() and (manifest := read_manifest(folder)).kind == "onnx":
        if not allow_cascade:
            refuse_cascade(folder, manifest)
        before = own.read_bytes()
        yield folder, manifest
        if not own.is_file() or own.read_bytes() != before:  # folders are replaced whole
            raise CompressError(f"{model}: was replaced while it was read; run the same command again")
        return
    with TemporaryDirectory() as temporary:
        folder = export(model, Path(temporary) / "onnx", pairs=pairs, threads=job.threads).folder
        yield folder, read_manifest(folder)
