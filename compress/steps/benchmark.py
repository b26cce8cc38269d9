"""bench, the step that measures models side by side."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from compress.benchmark.interrupts import ctrl_c_waits
from compress.config import BenchConfig
from compress.data import Split
from compress.errors import CompressError
from compress.paths import local_path
from compress.progress import say
from compress.steps.step import DataJob, DoneInterrupt, StepResult, data_step, model_list


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
        data: texts and labels, as for :func:`finetune`; the test split is used, or the one that ``split`` names. Where
            nothing has labels, the report is of speed and size alone.
        out: the folder to write: ``report.html``, ``report.md``, ``results.json``, ``samples.jsonl``.
        overwrite: replace ``out`` if compress made it.
        **settings: those of :class:`compress.config.BenchConfig`.

    Raises:
        KeyboardInterrupt: on Ctrl-C, after a report of what was measured until then is written, marked partial where
            that is not all; where it is all, it is a :class:`compress.steps.step.DoneInterrupt` with the result.
    """
    models = model_list(models)
    with ExitStack() as at_end, data_step(BenchConfig, settings, data, out, overwrite, inputs=models) as job:
        from compress.benchmark.measure import measure_models, results_of
        from compress.benchmark.report.page import write_report

        test, task = _measured_texts(job)
        paths = [local_path(model) for model in models]
        with TemporaryDirectory() as temporary:
            floors = _baselines(job, test, paths[0], Path(temporary)) if job.config.baselines else []
            measured = measure_models([*paths, *floors], test, task, job.config)
            ctrl_c = at_end.enter_context(ctrl_c_waits())
            results = results_of(measured, test, job.config)
        for entry in results["models"]:
            if Path(entry["path"]) in floors:
                entry["path"] = None  # the folder of a baseline is temporary
        write_report(results, job.folder)
        result = job.result({name: value for name, value in results.items() if name != "samples"})
    if results["partial"]:
        raise KeyboardInterrupt(f"{out} has a report of what was measured until then")
    if ctrl_c.is_set():
        raise DoneInterrupt(f"{out} has the whole report", result)
    return result


def _measured_texts(job: DataJob[BenchConfig]) -> tuple[Split, str]:
    """The split that the settings name, and its task."""
    from compress.data.read import read_test

    split = job.config.split
    test, task = read_test(job.data) if split == "test" else (job.dataset.validation, job.dataset.task)
    if not test.labels:
        say(f"bench: the {split} texts have no labels, so accuracy is left out; --label COL names their column")
    return test, task


def _baselines(job: DataJob[BenchConfig], test: Split, first: Path, folder: Path) -> list[Path]:
    """The folders of the linear models, trained on the data with the tokens of the ``first`` model."""
    from compress.benchmark.backends.baselines import fit_baselines
    from compress.data.read import read_dataset

    if not test.labels:
        raise CompressError("--baselines: the data have no labels to train on; name their column with --label")
    say("bench: training the baselines")
    return fit_baselines(read_dataset(job.data), first, folder)
