"""The steps as functions: read a folder, do the work, write a folder. The thin edge around each room's core."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from compress.config import BenchConfig, DistillConfig, ExportConfig, FinetuneConfig, PruneConfig, QuantizeConfig
from compress.errors import CompressError
from compress.folder import MANIFEST, Manifest, read_manifest
from compress.step import StepResult, data_step, step

if TYPE_CHECKING:
    from compress.data import Dataset
    from compress.modeling.checkpoint import Checkpoint

PARITY_TOLERANCE = 1e-4


def finetune(
    model: str | Path, data: str | Path, out: str | Path, *, overwrite: bool = False, **settings: Any
) -> StepResult:
    """Train a classifier's head and body on labelled texts.

    Args:
        model: hub id or folder of a BERT classifier or encoder.
        data: see :class:`compress.config.DataConfig`, whose other settings are keywords too (``text``, ``label``, ...).
        out: the folder to write.
        overwrite: replace ``out`` if compress made it.
        **settings: those of :class:`compress.config.FinetuneConfig`.
    """
    with data_step(FinetuneConfig, settings, data, out, overwrite, inputs=(model,)) as job:
        from compress.data import read_dataset
        from compress.modeling.checkpoint import load_for_finetuning
        from compress.training.finetune import finetune as core

        dataset = read_dataset(job.data)
        start = load_for_finetuning(str(model), dataset.task, dataset.labels, job.config.seed)
        trained, training = core(start, dataset, job.config, job.desk())
        return job.save_torch(trained, training.as_metrics())


def distill(
    teacher: str | Path, data: str | Path, out: str | Path, *, overwrite: bool = False, **settings: Any
) -> StepResult:
    """Make a smaller student and train it to answer as the teacher does.

    Args:
        teacher: folder or hub id of a fine-tuned BERT classifier.
        data: texts and labels, as for :func:`finetune`.
        out: the folder to write.
        overwrite: replace ``out`` if compress made it.
        **settings: those of :class:`compress.config.DistillConfig`.
    """
    with data_step(DistillConfig, settings, data, out, overwrite, inputs=(teacher,)) as job:
        from compress.data import read_dataset
        from compress.distillation.distill import distill as core
        from compress.distillation.students import make_student
        from compress.modeling.checkpoint import load_classifier, load_for_finetuning

        dataset = read_dataset(job.data)
        teacher_model = load_classifier(str(teacher), pairs=dataset.pairs)
        _check_labels(teacher_model, dataset)
        if job.config.student is not None:
            student = load_for_finetuning(job.config.student, dataset.task, teacher_model.labels, job.config.seed)
            student = replace(student, max_length=min(student.max_length, teacher_model.max_length))
        else:
            student = make_student(teacher_model, job.config)
        training = core(teacher_model, student, dataset, job.config, job.desk(), job.data.text)
        return job.save_torch(
            replace(student, history=teacher_model.history, digest=teacher_model.digest, source=teacher_model.source),
            training.as_metrics(),
        )


def prune(
    model: str | Path, data: str | Path, out: str | Path, *, overwrite: bool = False, **settings: Any
) -> StepResult:
    """Remove attention heads and FFN neurons, and train to recover.

    Args:
        model: folder or hub id of a fine-tuned BERT classifier.
        data: texts and labels, as for :func:`finetune`.
        out: the folder to write.
        overwrite: replace ``out`` if compress made it.
        **settings: those of :class:`compress.config.PruneConfig`.
    """
    with data_step(PruneConfig, settings, data, out, overwrite, inputs=(model,)) as job:
        from compress.data import read_dataset
        from compress.modeling.checkpoint import load_classifier
        from compress.pruning.prune import prune as core

        dataset = read_dataset(job.data)
        whole = load_classifier(str(model), pairs=dataset.pairs)
        _check_labels(whole, dataset)
        teacher = load_classifier(job.config.teacher, pairs=dataset.pairs) if job.config.teacher else whole
        _check_labels(teacher, dataset)
        pruned, training = core(whole, teacher, dataset, job.config, job.desk(), job.data.text)
        metrics = training.as_metrics() | {"parameters_before": whole.parameters, "parameters": pruned.parameters}
        return job.save_torch(pruned, metrics)


def export(model: str | Path, out: str | Path, *, overwrite: bool = False, **settings: Any) -> StepResult:
    """Write the model as an fp32 ONNX graph whose logits equal PyTorch's within 1e-4.

    Args:
        model: folder or hub id of a fine-tuned BERT classifier.
        out: the folder to write.
        overwrite: replace ``out`` if compress made it.
        **settings: those of :class:`compress.config.ExportConfig`.
    """
    with step(ExportConfig, settings, out, overwrite, inputs=(model,)) as job:
        import onnx

        from compress.export import layout
        from compress.export.graph import build_graph
        from compress.export.parity import check_parity
        from compress.export.weights import read_weights
        from compress.modeling.checkpoint import load_classifier
        from compress.modeling.torch_predictor import TorchPredictor
        from compress.runtime.session import OnnxPredictor

        checkpoint = load_classifier(str(model), pairs=job.config.pairs)
        manifest = checkpoint.manifest("onnx")
        graph = job.folder / layout.FP32_GRAPH
        graph.parent.mkdir()
        onnx.save(build_graph(read_weights(checkpoint.model)), graph)
        exported = OnnxPredictor(graph, manifest, checkpoint.encoder, job.threads)
        config = checkpoint.model.config
        parity = check_parity(
            TorchPredictor(checkpoint), exported, config.vocab_size, config.max_position_embeddings, PARITY_TOLERANCE
        )
        layout.write_side_files(checkpoint, job.folder)
        return job.save_onnx(manifest, asdict(parity), checkpoint.digest, checkpoint.source)


def quantize(
    model: str | Path, data: str | Path, out: str | Path, *, overwrite: bool = False, **settings: Any
) -> StepResult:
    """Write the model as an int8 ONNX graph, with its agreement with the fp32 one on validation texts.

    Its logits are divided by a temperature that is fitted on those texts, so that scores can be taken as probabilities.

    Args:
        model: an exported folder, or a PyTorch one, which is exported first.
        data: texts and labels, as for :func:`finetune`.
        out: the folder to write.
        overwrite: replace ``out`` if compress made it.
        **settings: those of :class:`compress.config.QuantizeConfig`.
    """
    with data_step(QuantizeConfig, settings, data, out, overwrite, inputs=(model,)) as job:
        import onnx

        from compress.data import read_dataset
        from compress.export import layout
        from compress.export.agreement import measure_agreement
        from compress.export.calibration import calibrate, fold_temperature
        from compress.export.int8 import quantize_weights
        from compress.runtime.session import OnnxPredictor

        dataset = read_dataset(job.data)
        with _exported(model, pairs=dataset.pairs) as parent:
            manifest = read_manifest(parent)
            if not (parent / layout.FP32_GRAPH).is_file():
                raise CompressError(f"{model}: is quantized already; give the fp32 ONNX folder or the PyTorch one")
            _check_labels(manifest, dataset, str(model))
            graph = job.folder / layout.INT8_GRAPH
            graph.parent.mkdir()
            quantized = quantize_weights(onnx.load(parent / layout.FP32_GRAPH))
            onnx.save(quantized, graph)
            fp32 = OnnxPredictor.open(parent, job.threads)
            int8 = OnnxPredictor(graph, manifest, fp32.encoder, job.threads)
            agreement = measure_agreement(fp32, int8, dataset.validation)
            agreement.require(job.config.max_drop)
            calibration = calibrate(int8, dataset.validation)
            onnx.save(fold_temperature(quantized, calibration.temperature), graph)
            layout.copy_side_files(parent, job.folder)
        metrics = asdict(agreement) | asdict(calibration) | {"bytes": int8.size_bytes, "parent_bytes": fp32.size_bytes}
        return job.save_onnx(manifest, metrics, manifest.digest, str(model))


def bench(
    models: Sequence[str | Path] | str | Path,
    data: str | Path,
    out: str | Path,
    *,
    overwrite: bool = False,
    **settings: Any,
) -> StepResult:
    """Measure accuracy, latency and size of models side by side, and write the report.

    Args:
        models: folders of models, PyTorch or ONNX; the first is the reference.
        data: texts and labels, as for :func:`finetune`; the test split is used.
        out: the folder to write: ``report.html``, ``report.md``, ``results.json``.
        overwrite: replace ``out`` if compress made it.
        **settings: those of :class:`compress.config.BenchConfig`.
    """
    models = [models] if isinstance(models, str | Path) else list(models)
    with data_step(BenchConfig, settings, data, out, overwrite, inputs=tuple(models)) as job:
        from compress.bench import bench as core
        from compress.bench import write_report
        from compress.data import read_dataset

        dataset = read_dataset(job.data)
        results = core([Path(model) for model in models], dataset.test, dataset.task, job.config)
        write_report(results, job.folder)
        return job.result(results)


@contextmanager
def _exported(model: str | Path, *, pairs: bool) -> Iterator[Path]:
    """``model`` itself where it is an ONNX folder, else an export of it that is gone afterwards."""
    if (Path(model) / MANIFEST).is_file() and read_manifest(Path(model)).kind == "onnx":
        yield Path(model)
    else:
        with TemporaryDirectory() as temporary:
            yield export(model, Path(temporary) / "onnx", pairs=pairs).folder


def _check_labels(model: "Checkpoint | Manifest", dataset: "Dataset", name: str = "") -> None:
    """A model's task and label set must be the data's; the order may differ, answers are matched by name."""
    name = name or getattr(model, "source", "")
    if model.task != dataset.task:
        raise CompressError(
            f"{name}: is for {model.task} tasks, but the data is {dataset.task}; give the data it was trained on"
        )
    lacking, unknown = sorted(set(model.labels) - set(dataset.labels)), sorted(set(dataset.labels) - set(model.labels))
    if lacking or unknown:
        raise CompressError(
            f"{name}: its labels are not the data's; only the model has {_some(lacking)}, "
            f"only the data has {_some(unknown)}; "
            "give the data it was trained on, or name the columns with --text and --label"
        )


def _some(names: list[str], most: int = 5) -> str:
    return (
        ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "") if names else "none"
    )
