"""An exported model in ONNX Runtime, as a predictor."""

from itertools import count
from pathlib import Path

import numpy as np
import onnxruntime as ort

from compress.errors import CompressError
from compress.folder import MANIFEST, Manifest, refuse_cascade
from compress.limits import Limits, find_limits, resident_bytes
from compress.machine import usable_cpus
from compress.progress import say
from compress.replacement import open_whole
from compress.runtime.decision import Decision
from compress.runtime.encoding import Feeds, TextEncoder
from compress.runtime.forks import keep_in_forks
from compress.runtime.graph_file import INPUTS, OUTPUT, REQUIRED_INPUTS, check_graph, choose_graph, precision_of
from compress.runtime.mapped import CAN_MAP, FOLDER_OPTION, without_weights
from compress.runtime.predictor import Logits, batch_tokens_of

_PROVIDER = "ExecutionProvider"
_CPU = f"CPU{_PROVIDER}"


class OnnxPredictor:
    """Runs one graph of ours on ``threads`` CPU threads in all (default: all CPUs that this process may use).

    ``instances`` batches can be computed at once, each on ``threads / instances`` threads. ``reason`` says why this
    graph was chosen.
    """

    backend = "onnxruntime"

    def __init__(
        self,
        graph: Path,
        manifest: Manifest,
        encoder: TextEncoder,
        threads: int | None = None,
        instances: int = 1,
        reason: str = "it was asked for",
        provider: str = "CPU",
    ) -> None:
        self.reason = reason
        self.digest = manifest.digest
        self.folder: Path | None = None  # from which it can be opened again
        self.task = manifest.task
        self.labels = manifest.labels
        self.decision = Decision.of(manifest)
        self._graph = graph
        self.encoder = encoder
        self.precision = precision_of(graph)
        self.size_bytes = graph.stat().st_size
        self.parameters = manifest.parameters
        self.batch_tokens = batch_tokens_of(check_graph(graph))
        self.threads = threads or usable_cpus()
        self.instances = min(instances, self.threads)  # a pickle may come from a machine with more CPUs
        self._asked_threads, self._asked_provider = threads, provider
        self._threads_each = self.threads // self.instances
        # A run on one thread uses the caller's thread, so one session then serves any number of callers at once.
        sessions = self.instances if self._threads_each > 1 else 1
        self._sessions = [open_session(graph, self._threads_each, provider) for _ in range(sessions)]
        _check_signature(graph, self._sessions[0], len(self.labels))
        self._inputs = inputs_of(self._sessions[0])
        self._turn = count()
        self.provider: str | None = self._sessions[0].get_providers()[0]

    @classmethod
    def open(
        cls, folder: Path, threads: int | None = None, instances: int = 1, provider: str = "CPU"
    ) -> "OnnxPredictor":
        """The classifier in an ONNX folder of ours, in the graph that suits this CPU."""
        return open_whole(folder, lambda manifest: cls.of(folder, manifest, threads, instances, provider))

    @classmethod
    def of(
        cls, folder: Path, manifest: Manifest, threads: int | None, instances: int, provider: str = "CPU"
    ) -> "OnnxPredictor":
        """As :meth:`open`, for a folder whose manifest has been read already."""
        _refuse_other_kinds(folder, manifest)
        encoder = TextEncoder.of(folder, manifest)
        choice = choose_graph(folder)
        _say_if_short_of_memory(choice.graph, find_limits())
        predictor = cls(choice.graph, manifest, encoder, threads, instances, choice.reason, provider)
        predictor.folder = folder.absolute()
        return predictor

    @classmethod
    def of_graph(
        cls, folder: Path, manifest: Manifest, graph: Path, threads: int | None, provider: str = "CPU"
    ) -> "OnnxPredictor":
        """A predictor that runs this graph of the folder, suitable for the CPU or not; it cannot be pickled."""
        return cls(graph, manifest, TextEncoder.of(folder, manifest), threads, provider=provider)

    def after_fork(self) -> "OnnxPredictor":
        """A predictor that works in this process, which was forked from the one that opened ``self``.

        Threads are not forked, so the model is opened again, unless it runs on the caller's thread alone.
        """
        return self if self._threads_each == 1 else _reopened(*self._how_opened())

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by the folder, from which another process opens the same model."""
        return _reopened, self._how_opened()

    def _how_opened(self) -> tuple[Path, str, int | None, int, str]:
        if self.folder is None:
            raise CompressError("the model was not opened from a folder, so no other process can open it again")
        return self.folder, self.digest, self._asked_threads, self.instances, self._asked_provider

    def run(self, feeds: Feeds) -> Logits:
        """Logits, float32 ``[batch, labels]``; safe to call from several threads."""
        session = self._sessions[next(self._turn) % len(self._sessions)]
        read = {name: feeds[name] for name in self._inputs}
        rows, tokens = read[REQUIRED_INPUTS[0]].shape
        try:
            logits: Logits = np.asarray(session.run([OUTPUT], read)[0], dtype=np.float32)
            if logits.shape != (rows, len(self.labels)):
                raise ValueError(f"its logits have the shape {list(logits.shape)}")
        except Exception as error:  # noqa: BLE001 - out of memory, or the graph is not the tokenizer's
            raise CompressError(
                f"{self._graph}: onnxruntime {ort.__version__} cannot answer {rows} x {tokens} tokens "
                f"({_reason(error)}); make or copy the folder again, or give fewer texts at once"
            ) from None
        return logits


def _say_if_short_of_memory(graph: Path, limits: Limits) -> None:
    """Warn if a graph may need more memory than a container grants: the kernel would kill the process silently."""
    held, needed = resident_bytes(), graph.stat().st_size
    if limits.limit_bytes is not None and held + needed > limits.limit_bytes:
        say(
            f"{graph}: may need {needed / 2**20:,.0f} MiB of memory beside the {held / 2**20:,.0f} that this process "
            f"holds, and the container grants {limits.limit_bytes / 2**20:,.0f}; if the process is killed, raise the "
            "container's memory limit or take a smaller model"
        )


def _reopened(folder: Path, digest: str, threads: int | None, instances: int, provider: str) -> OnnxPredictor:
    predictor = OnnxPredictor.open(folder, threads, instances, provider)
    if predictor.digest != digest:
        raise CompressError(f"{folder}: holds another model than when the classifier was loaded; load it again")
    return predictor


def _refuse_other_kinds(folder: Path, manifest: Manifest) -> None:
    if manifest.kind == "torch":
        raise CompressError(f"{folder}: is a PyTorch model; make an ONNX one with 'compress export {folder} --out ...'")
    if manifest.kind != "onnx":
        raise CompressError(
            f"{folder}: is a model laid out for others ({manifest.kind}, see its README.md); load the ONNX folder "
            "that it was exported from"
        )
    refuse_cascade(folder, manifest)
    if "tokenizer.json" not in manifest.names:
        raise CompressError(f"{folder / 'tokenizer.json'}: is not in {MANIFEST}'s list; make or copy the folder again")


def find_provider(name: str) -> str:
    """Onnxruntime's own name of the execution provider ``name``, which may be short: ``CPU``, ``OpenVINO``."""
    available: dict[str, str] = {each.removesuffix(_PROVIDER).lower(): each for each in ort.get_available_providers()}
    provider = available.get(name.removesuffix(_PROVIDER).lower())
    if provider is None:
        known = ", ".join(sorted(each.removesuffix(_PROVIDER) for each in available.values()))
        raise CompressError(f"provider {name} is not in onnxruntime {ort.__version__} here; it has {known}")
    return provider


def open_session(
    graph: Path | bytes,
    threads: int,
    provider: str = "CPU",
    profile_prefix: str | None = None,
    *,
    mapped: bool = True,
) -> ort.InferenceSession:
    """A session for a graph in a file or in memory; it is an error if onnxruntime lacks or drops the ``provider``.

    With a ``profile_prefix``, onnxruntime writes a profile whose name begins with it. With ``mapped``, the weights stay
    in their file, which works for every graph of ours, but not for every other.
    """
    wanted, name = find_provider(provider), graph if isinstance(graph, Path) else "the graph"
    options, content = _options(threads, wanted, profile_prefix), graph
    if mapped and isinstance(graph, Path) and wanted == _CPU and CAN_MAP:
        content = without_weights(graph)
        folder = graph.resolve().parent  # resolved, since onnxruntime refuses links that lead out of the folder
        options.add_session_config_entry(FOLDER_OPTION, str(folder))
    session = _load(content, options, wanted, name)
    if (ran := session.get_providers()[0]) != wanted:  # onnxruntime goes on without a provider that cannot start
        raise CompressError(f"provider {provider} was asked for, but onnxruntime would run the graph on {ran}")
    if threads > 1:
        keep_in_forks(session)
    return session


def _options(threads: int, provider: str, profile_prefix: str | None) -> ort.SessionOptions:
    options = ort.SessionOptions()
    # onnxruntime would take every core of the machine, whatever a container grants.
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if provider == _CPU:
        # With it, onnxruntime allocates one block of memory for all values of a run, as large as the batch's shape
        # needs. Batches of ever new shapes leave gaps between blocks that no later block fits, and its memory grows.
        options.enable_mem_pattern = False
    if profile_prefix is not None:
        options.enable_profiling = True
        options.profile_file_prefix = profile_prefix
    return options


def _load(graph: Path | bytes, options: ort.SessionOptions, provider: str, name: str | Path) -> ort.InferenceSession:
    try:
        session = ort.InferenceSession(graph, options, providers=[provider])
        # Read the names here: onnxruntime accepts names that are not UTF-8, and Python then fails on reading them.
        _ = [(value.name, value.shape) for value in (*session.get_inputs(), *session.get_outputs())]
        return session
    except Exception as error:  # noqa: BLE001 - onnxruntime's exceptions share no base class of their own
        raise CompressError(f"{name}: onnxruntime {ort.__version__} cannot load it ({_reason(error)})") from None


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def inputs_of(session: ort.InferenceSession) -> tuple[str, ...]:
    """The names of the inputs that the graph reads; in graphs of ours, those of ``INPUTS`` that its family has."""
    return tuple(value.name for value in session.get_inputs())


def _check_signature(graph: Path, session: ort.InferenceSession, labels: int) -> None:
    """Refuse a graph that reads other inputs than a tokenizer's, or does not answer with one logit for each label."""
    reads = set(inputs_of(session))
    answers = {value.name: list(value.shape)[1:] for value in session.get_outputs()}
    if not set(REQUIRED_INPUTS) <= reads <= set(INPUTS) or answers != {OUTPUT: [labels]}:
        raise CompressError(
            f"{graph}: reads {', '.join(sorted(reads))} and answers {answers}, a classifier of {labels} labels reads "
            f"{', '.join(sorted(INPUTS))} and answers {{'{OUTPUT}': [{labels}]}}; export the model again"
        )
