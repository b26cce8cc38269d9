"""The steps as functions: read a folder, do the work, write a folder. The thin edge around each room's core."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from compress.config import (
    BenchConfig,
    DataConfig,
    DistillConfig,
    ExportConfig,
    FinetuneConfig,
    PruneConfig,
    QuantizeConfig,
)
from compress.errors import CompressError
from compress.folder import MANIFEST, Manifest, read_manifest
from compress.metrics import choose_metric
from compress.progress import say
from compress.step import StepResult, data_step, step

if TYPE_CHECKING:
    from compress.data import Dataset, Split
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
        choose_metric(job.config.metric, dataset.task, len(dataset.labels))
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
        choose_metric(job.config.metric, dataset.task, len(dataset.labels))
        teacher_model = load_classifier(str(teacher), pairs=dataset.pairs)
        _check_labels(teacher_model, dataset)
        if job.config.student is not None:
            student = load_for_finetuning(job.config.student, dataset.task, teacher_model.labels, job.config.seed)
            student = replace(student, max_length=min(student.max_length, teacher_model.max_length))
        else:
            student = make_student(teacher_model, job.config)
        training = core(
            teacher_model, student, dataset, job.config, job.desk(), job.config.unlabeled_text or job.data.text
        )
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
        choose_metric(job.config.metric, dataset.task, len(dataset.labels))
        whole = load_classifier(str(model), pairs=dataset.pairs)
        _check_labels(whole, dataset)
        teacher = load_classifier(job.config.teacher, pairs=dataset.pairs) if job.config.teacher else whole
        _check_labels(teacher, dataset)
        whole = replace(whole, max_length=min(whole.max_length, teacher.max_length))
        pruned, training = core(
            whole, teacher, dataset, job.config, job.desk(), job.config.unlabeled_text or job.data.text
        )
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
        from compress.export.agreement import prepare_exam
        from compress.export.calibration import calibrate, fold_temperature
        from compress.export.ladder import quantize as core
        from compress.runtime.session import OnnxPredictor

        dataset = read_dataset(job.data)
        with _exported(model, pairs=dataset.pairs) as parent:
            manifest = read_manifest(parent)
            if not (parent / layout.FP32_GRAPH).is_file():
                raise CompressError(f"{model}: is quantized already; give the fp32 ONNX folder or the PyTorch one")
            _check_labels(manifest, dataset, str(model))
            fp32 = OnnxPredictor.open(parent, job.threads)
            exam = prepare_exam(fp32, dataset.validation)
            quantized = core(onnx.load(parent / layout.FP32_GRAPH), exam, job.config, job.threads)
            graph = job.folder / layout.INT8_GRAPH
            graph.parent.mkdir()
            onnx.save(quantized.model, graph)
            int8 = OnnxPredictor(graph, manifest, fp32.encoder, job.threads)
            calibration = calibrate(int8, dataset.validation)
            onnx.save(fold_temperature(quantized.model, calibration.temperature), graph)
            layout.copy_side_files(parent, job.folder)
        sizes = {"bytes": graph.stat().st_size, "parent_bytes": fp32.size_bytes}
        metrics = quantized.as_metrics() | asdict(calibration) | sizes
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
        data: texts and labels, as for :func:`finetune`; the test split is used. Texts without a label column give
            speed and size only.
        out: the folder to write: ``report.html``, ``report.md``, ``results.json``, ``samples.jsonl``.
        overwrite: replace ``out`` if compress made it.
        **settings: those of :class:`compress.config.BenchConfig`.

    Raises:
        KeyboardInterrupt: on Ctrl-C, after a report of what was measured until then, marked partial, is written.
    """
    models = [models] if isinstance(models, str | Path) else list(models)
    with data_step(BenchConfig, settings, data, out, overwrite, inputs=tuple(models)) as job:
        from compress.bench import bench as core
        from compress.bench import write_report
        from compress.data import read_test

        test, task = read_test(job.data)
        if not test.labels:
            say("bench: the test texts have no labels, so accuracy is left out; --label COL names their column")
        paths = [Path(model) for model in models]
        with _baselines(job.config, job.data, test, paths) as floors:
            results = core([*paths, *floors], test, task, job.config)
        for entry in results["models"]:
            if Path(entry["path"]) in floors:
                entry["path"] = None  # it was trained for this report alone
        write_report(results, job.folder)
        result = job.result({name: value for name, value in results.items() if name != "samples"})
    if results["partial"]:
        raise KeyboardInterrupt(f"{out} has a report of what was measured until then")
    return result


@contextmanager
def _baselines(config: BenchConfig, data: DataConfig, test: "Split", models: Sequence[Path]) -> Iterator[list[Path]]:
    """The folders of the baselines where they are asked for, gone afterwards."""
    if not config.baselines:
        yield []
        return
    from compress.baselines import fit_baselines
    from compress.data import read_dataset

    if not test.labels:
        raise CompressError("--baselines: the data have no labels to train on; name their column with --label")
    say("bench: training the baselines")
    with TemporaryDirectory() as temporary:
        yield fit_baselines(read_dataset(data), models[0], Path(temporary))


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
