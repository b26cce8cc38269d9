"""calibrate, which chooses when a score is enough to answer, and check, which holds a new model to an old one."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from compress.config import CalibrateConfig, CheckConfig
from compress.errors import CompressError
from compress.paths import local_path
from compress.progress import progress
from compress.runtime.graph_file import GRAPHS
from compress.steps.deployment import exported
from compress.steps.step import StepResult, check_labels, data_step, split_settings


def calibrate(
    model: str | Path, data: str | Path, out: str | Path, *, overwrite: bool = False, **settings: Any
) -> StepResult:
    """Write the model with a temperature in its graph, and with the scores from which on it answers.

    They are chosen on validation texts and stand in the manifest and in config.json (``decision``).

    Args:
        model: an ONNX folder, or a PyTorch one, which is exported first.
        data: texts and labels, as for :func:`compress.finetune`.
        out: the folder to write.
        overwrite: replace ``out`` if compress made it.
        **settings: those of :class:`compress.config.CalibrateConfig`.
    """
    with data_step(CalibrateConfig, settings, data, out, overwrite, inputs=(model,)) as job:
        import onnx

        from compress.decisions.calibrate import calibrate as core
        from compress.packaging import layout
        from compress.quantization.temperature import fold_temperature
        from compress.runtime.encoding import TextEncoder
        from compress.runtime.predictor import check_finite, encoded_logits
        from compress.runtime.session import OnnxPredictor

        dataset = job.dataset
        with exported(model, job, pairs=dataset.pairs) as (parent, manifest):
            check_labels(manifest, dataset, str(model))
            graphs = [name for name in GRAPHS if name in manifest.names]
            if len(graphs) != 1:
                raise CompressError(f"{model}: has {len(graphs)} graphs, whose scores differ; give a folder with one")
            encoder = TextEncoder.of(parent, manifest)
            predictor = OnnxPredictor(parent / graphs[0], manifest, encoder, job.threads)
            encodings = encoder(dataset.validation.texts)
            with progress("validation", len(encodings)) as advance:
                logits = check_finite(encoded_logits(predictor, encodings, advance), str(model))
            targets = dataset.validation.targets(manifest.labels, manifest.task)
            found = core(manifest.labels, manifest.task, logits, targets, job.config)
            graph = job.folder / graphs[0]
            graph.parent.mkdir()
            onnx.save(fold_temperature(onnx.load(parent / graphs[0]), found.temperature.temperature), graph)
            layout.copy_side_files(parent, job.folder)
            layout.set_decision(job.folder, found.decision)
        manifest = replace(manifest, decision=found.decision)
        return job.save_onnx(manifest, found.metrics, manifest.digest, str(model))


def check(new: str | Path, against: str | Path, data: str | Path, **settings: Any) -> dict[str, Any]:
    """Whether the model ``new`` may take the place of ``against``, by their answers to the test split.

    Args:
        new: a classifier: a folder of ours, a Hugging Face folder or hub id, or an ONNX file of another program with
            its tokenizer and config.json.
        against: the one in use; of the same kinds.
        data: texts and labels, as for :func:`compress.finetune`.
        **settings: those of :class:`compress.config.CheckConfig`, and of the data.

    Returns:
        The document that ``compress check --json FILE`` writes; ``passed`` is the verdict.
    """
    source, own = split_settings(settings, data)
    config = CheckConfig.parse(own)
    from compress.data import read_test
    from compress.decisions.check import check as core

    test, task = read_test(source)
    return core(local_path(new), local_path(against), test, task, config)
