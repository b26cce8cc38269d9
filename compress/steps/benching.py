"""The step that measures models side by side: bench."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from compress.config import BenchConfig, DataConfig
from compress.errors import CompressError
from compress.paths import local_path
from compress.progress import say
from compress.steps.step import StepResult, data_step

if TYPE_CHECKING:
    from compress.data import Split


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
        data: texts and labels, as for :func:`finetune`; the test split is used. Where nothing has labels, the report is
            of speed and size alone.
        out: the folder to write: ``report.html``, ``report.md``, ``results.json``, ``samples.jsonl``.
        overwrite: replace ``out`` if compress made it.
        **settings: those of :class:`compress.config.BenchConfig`.

    Raises:
        KeyboardInterrupt: on Ctrl-C, after a report of what was measured until then, marked partial, is written.
    """
    models = [models] if isinstance(models, str | Path) else list(models)
    with data_step(BenchConfig, settings, data, out, overwrite, inputs=tuple(models)) as job:
        from compress.benchmark.measure import bench as core
        from compress.benchmark.report.page import write_report
        from compress.data import read_test

        test, task = read_test(job.data)
        if not test.labels:
            say("bench: the test texts have no labels, so accuracy is left out; --label COL names their column")
        paths = [local_path(model) for model in models]
        with _baselines(job.config, job.data, test, paths) as floors:
            results = core([*paths, *floors], test, task, job.config)
        for entry in results["models"]:
            if Path(entry["path"]) in floors:
                entry["path"] = None  # its folder is removed
        write_report(results, job.folder)
        result = job.result({name: value for name, value in results.items() if name != "samples"})
    if results["partial"]:
        raise KeyboardInterrupt(f"{out} has a report of what was measured until then")
    return result


@contextmanager
def _baselines(config: BenchConfig, data: DataConfig, test: "Split", models: Sequence[Path]) -> Iterator[list[Path]]:
    """The folders of the baselines, if ``config`` wants them; they are removed afterwards."""
    if not config.baselines:
        yield []
        return
    from compress.benchmark.backends.baselines import fit_baselines
    from compress.data import read_dataset

    if not test.labels:
        raise CompressError("--baselines: the data have no labels to train on; name their column with --label")
    say("bench: training the baselines")
    with TemporaryDirectory() as temporary:
        yield fit_baselines(read_dataset(data), models[0], Path(temporary))
