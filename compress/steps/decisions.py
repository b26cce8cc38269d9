"""calibrate and cascade, which choose when a score is enough, and check, which compares a new model with an old one."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from compress.config import CalibrateConfig, CascadeConfig, CheckConfig
from compress.errors import CompressError
from compress.folder import LARGE, SMALL, Manifest
from compress.paths import local_path
from compress.progress import dropping_held, say
from compress.runtime.graph_file import GRAPHS
from compress.steps.deployment import exported, own_decision
from compress.steps.step import StepResult, check_labels, data_step, split_settings
from compress.task import is_multi_label


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
        from compress.packaging.card import temperature_of
        from compress.quantization.reference import answered
        from compress.quantization.temperature import fold_temperature
        from compress.runtime.session import OnnxPredictor

        dataset = job.dataset
        with exported(model, job, pairs=dataset.pairs) as (parent, manifest):
            check_labels(manifest, dataset, str(model))
            graph_name = _only_graph(manifest, model)
            predictor = OnnxPredictor.of_graph(parent, manifest, parent / graph_name, job.threads)
            logits = answered("validation", predictor, predictor.encoder(dataset.validation.texts), str(model))
            targets = dataset.validation.targets(manifest.labels, manifest.task)
            fitted_before = temperature_of(manifest) is not None
            calibrated = core(manifest.labels, manifest.task, logits, targets, job.config, fitted_before=fitted_before)
            graph = job.folder / graph_name
            graph.parent.mkdir()
            onnx.save(fold_temperature(onnx.load(parent / graph_name), calibrated.temperature.temperature), graph)
            layout.copy_side_files(parent, job.folder)
            layout.set_decision(job.folder, calibrated.decision)
        if manifest.decision is not None and calibrated.decision is None:
            again = (
                "--thresholds f1 chooses new ones" if is_multi_label(manifest.task) else "--max-error chooses a new one"
            )
            say(f"calibrate: leaves out {own_decision(manifest, model)}; {again}")
        manifest = replace(manifest, decision=calibrated.decision)
        return job.save_onnx(manifest, calibrated.metrics, manifest.digest, str(model))


def cascade(
    small: str | Path, large: str | Path, data: str | Path, out: str | Path, *, overwrite: bool = False, **settings: Any
) -> StepResult:
    """Write a folder with both models, in which the small one hands the texts on that it is not sure of.

    The score below which it does so is chosen on validation texts and stands in the manifest (``decision``). Nothing is
    written where the small model is no faster than the large one, or good enough alone, or where both together are no
    faster on average than the large one.

    Args:
        small: an ONNX folder, or a PyTorch one, which is exported first.
        large: the same; its labels may have another order.
        data: texts and labels, as for :func:`compress.finetune`.
        out: the folder to write.
        overwrite: replace ``out`` if compress made it.
        **settings: those of :class:`compress.config.CascadeConfig`.
    """
    with data_step(CascadeConfig, settings, data, out, overwrite, inputs=(small, large)) as job:
        from compress.decisions.cascade import cascade as core
        from compress.decisions.cascade import refuse_few
        from compress.packaging.cascade import copy_part, joined
        from compress.runtime.classifier import load

        dataset = job.dataset
        if is_multi_label(dataset.task):
            raise CompressError("cascade: is for tasks with one label a text, whose score says how sure a model is")
        refuse_few(len(dataset.validation), job.config.max_drop)
        parts = {SMALL: small, LARGE: large}
        manifests = {}
        for name, model in parts.items():
            with exported(model, job, pairs=dataset.pairs) as (folder, manifest):
                check_labels(manifest, dataset, str(model))
                _only_graph(manifest, model)
                if manifest.decision:
                    say(f"cascade: leaves out the score below which {model} abstains; a cascade always answers")
                copy_part(folder, manifest, job.folder / name)
                manifests[name] = manifest
        with (
            load(job.folder / SMALL, threads=job.threads) as first,
            load(job.folder / LARGE, threads=job.threads) as second,
        ):
            chosen = core(first, second, dataset.validation, job.config)
        of_small, of_large = manifests[SMALL], manifests[LARGE]
        about = {"small": {"source": str(small), "digest": of_small.digest, "history": list(of_small.history)}}
        whole = joined(of_small, of_large, chosen.decision)
        return job.save_onnx(whole, chosen.metrics, of_large.digest, str(large), about=about)


@dropping_held()
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
    from compress.data.read import read_test
    from compress.decisions.check import check as core

    test, task = read_test(source)
    return core(local_path(new), local_path(against), test, task, config)


def _only_graph(manifest: Manifest, model: str | Path) -> str:
    """The name of a folder's only graph; several are refused, as each has scores of its own."""
    graphs = [name for name in GRAPHS if name in manifest.names]
    if not graphs:
        raise CompressError(f"{model}: has no graph ({' or '.join(GRAPHS)}); make the folder again")
    if len(graphs) > 1:
        raise CompressError(f"{model}: has {len(graphs)} graphs, whose scores differ; give a folder with one")
    return graphs[0]
