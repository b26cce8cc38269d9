"""The step that cuts a model and trains it to recover: prune."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.config import PruneConfig
from compress.evaluation.metrics import choose_metric
from compress.progress import say
from compress.steps.step import DataJob, StepResult, check_labels, data_step

if TYPE_CHECKING:
    from compress.data import Dataset
    from compress.latency.deployment import Deployment
    from compress.modeling.checkpoint import Checkpoint
    from compress.pruning.plan import PruningPlan


def prune(
    model: str | Path, data: str | Path, out: str | Path, *, overwrite: bool = False, **settings: Any
) -> StepResult:
    """Remove heads, FFN neurons, layers and tokens that the data lack, by shares or for a latency; train to recover.

    Args:
        model: folder or hub id of a fine-tuned BERT classifier.
        data: texts and labels, as for :func:`finetune`.
        out: the folder to write.
        overwrite: replace ``out`` if compress made it.
        **settings: those of :class:`compress.config.PruneConfig`.
    """
    with data_step(PruneConfig, settings, data, out, overwrite, inputs=(model,)) as job:
        from compress.modeling.checkpoint import load_classifier
        from compress.pruning.prune import prune as core
        from compress.pruning.recovery import untrained

        dataset = job.dataset
        choose_metric(job.config.metric, dataset.task, len(dataset.labels))
        whole = load_classifier(str(model), pairs=dataset.pairs)
        check_labels(whole, dataset)
        teacher = load_classifier(job.config.teacher, pairs=dataset.pairs) if job.config.teacher else whole
        check_labels(teacher, dataset)
        whole = replace(whole, max_length=min(whole.max_length, teacher.max_length))
        target = _Target.of(whole, dataset, job) if job.config.has_target else None
        if target and job.config.dry_run:
            return job.result(target.planned())
        pruned, training = core(
            whole,
            teacher,
            dataset,
            job.config,
            job.run_files(),
            job.config.unlabeled_text or job.data.text,
            target.plan if target else None,
        )
        metrics = training.as_metrics() | {"parameters_before": whole.parameters}
        if training.steps == 0:
            before = untrained(whole, dataset.validation, job.config)
            metrics |= {f"validation_{before.metric}_before": before.best}
        if job.config.vocabulary:
            metrics["vocabulary"] = _vocabulary(whole, pruned, dataset)
        if target:
            metrics |= target.metrics(pruned, whole)
        return job.save_torch(pruned, metrics | {"parameters": pruned.parameters})


@dataclass(frozen=True)
class _Target:
    """A latency to prune to: where it is measured, and what to cut for it."""

    deployment: "Deployment"
    plan: "PruningPlan"

    @classmethod
    def of(cls, whole: "Checkpoint", data: "Dataset", job: DataJob[PruneConfig]) -> "_Target":
        """Measure, and find the plan."""
        from compress.latency.deployment import deployment_of
        from compress.pruning.planning import find_plan
        from compress.pruning.prune import plan_importance

        deployment = deployment_of(whole, data, job.config, job.threads)
        plan = find_plan(whole, plan_importance(whole, data, job.config), deployment, job.config)
        say(str(plan))
        return cls(deployment, plan)

    def planned(self) -> dict[str, Any]:
        """The plan and the latency that it predicts."""
        plan = self.plan
        return plan.as_metrics() | {"latency_ms": plan.latency_ms, "speedup": plan.whole_ms / plan.latency_ms}

    def metrics(self, pruned: "Checkpoint", whole: "Checkpoint") -> dict[str, Any]:
        """What was planned, and what the recovered model was measured at."""
        from compress.pruning.planning import measured

        return self.plan.as_metrics() | measured(pruned, whole, self.deployment)


def _vocabulary(whole: "Checkpoint", pruned: "Checkpoint", dataset: "Dataset") -> dict[str, float]:
    """Tokens before and after, and how much of the texts that were not counted is read otherwise."""
    from compress.pruning.vocabulary import compare_reading

    before, after = (model.model.config.vocab_size for model in (whole, pruned))
    found: dict[str, float] = {"tokens_before": before, "tokens": after}
    for name, split in {"validation": dataset.validation, "test": dataset.test}.items():
        found |= {
            f"{name}_{part}": share for part, share in asdict(compare_reading(whole, pruned, split.texts)).items()
        }
    return found
