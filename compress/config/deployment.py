"""Settings of export, quantize and bench."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import BeforeValidator, model_validator

from compress.config.settings import Names, PositiveInts, Seed, Settings, ThreadsConfig, as_list, setting
from compress.task import Metric

_Torch = Literal["torch", "torch-bf16", "torch-compiled", "torch-bf16-compiled"]
_TorchGpu = Literal["torch-tf32", "torch-fp16", "torch-tf32-compiled", "torch-fp16-compiled"]
_TorchGraphs = Literal["torch-graphs", "torch-tf32-graphs", "torch-bf16-graphs", "torch-fp16-graphs"]
_TorchVarlen = Literal["torch-varlen-bf16", "torch-varlen-fp16", "torch-varlen-bf16-graphs", "torch-varlen-fp16-graphs"]
Backend = Literal[_Torch, _TorchGpu, _TorchGraphs, _TorchVarlen, "onnxruntime", "openvino"]


class ExportConfig(ThreadsConfig):
    """export: write an ONNX graph that gives the same logits, for any runtime, for a server, or as a single file."""

    command: ClassVar[str] = "export"
    pairs: bool = setting(False, "the model reads pairs of texts; needed where it does not say so itself")
    precision: Literal["fp32", "fp16"] = setting("fp32", "arithmetic of the graph; fp16 is for GPUs")
    single_file: bool = setting(
        False, "write one ONNX file that reads texts and answers with labels, the tokenizer inside"
    )
    for_: Literal["tei", "triton"] | None = setting(
        None,
        "lay the folder out for a server: tei (Hugging Face text-embeddings-inference) or triton (NVIDIA)",
        alias="for",
    )

    @model_validator(mode="after")
    def _one_layout(self) -> Self:
        if self.single_file and self.for_ is not None:
            raise ValueError(f"writes --single-file or --for {self.for_}, not both at once; export twice")
        if self.precision == "fp16" and self.layout != "onnx":
            raise ValueError("writes fp16 graphs into plain folders only; leave out precision, single_file or for")
        return self

    @property
    def layout(self) -> Literal["onnx", "single_file", "tei", "triton"]:
        """The kind of folder to write."""
        return "single_file" if self.single_file else self.for_ or "onnx"


class QuantizeConfig(ThreadsConfig):
    """quantize: write an ONNX graph with int8 weights and activations."""

    command: ClassVar[str] = "quantize"
    max_drop: float = setting(
        1.0, "refuse to write a model that loses more points than this on validation", ge=0, le=100
    )
    metric: Metric | None = setting(
        None,
        "metric that --max-drop limits; f1 is of the second of two labels; default: the one that the "
        "model's training reported, else accuracy, or macro_f1 for multi-label",
    )
    portable: bool = setting(
        False,
        "choose weights that no text can saturate on x86 CPUs without VNNI; default: none of 256 validation texts",
    )
    activations: Literal["dynamic", "static", "auto"] = setting(
        "dynamic",
        "how activations become int8: dynamic, in ranges computed for each text, which is then answered alone; "
        "static, in ranges fixed on training texts, so that texts are answered in batches; auto, the faster of those "
        "that --max-drop allows",
    )
    embeddings: Literal["int8", "int4"] = setting(
        "int8",
        "integers of the word embeddings, most of a small model's bytes; with int4 its file is about a third "
        "smaller, and a few more answers change",
    )
    for_: Literal["openvino"] | None = setting(
        None,
        "write static activations as OpenVINO computes them (QDQ; meant for TensorRT, not tried); default: as "
        "onnxruntime does",
        alias="for",
    )

    @model_validator(mode="before")
    @classmethod
    def _earlier(cls, given: object) -> object:
        """Read recipes of earlier versions, which asked for what is now ``for: openvino`` with ``calibrate``."""
        if isinstance(given, dict) and "calibrate" in given:
            kept = {name: value for name, value in given.items() if name != "calibrate"}
            if given["calibrate"] not in (None, "percentile", "entropy"):
                raise ValueError(f"calibrate is now 'for: openvino', got calibrate: {given['calibrate']}")
            return kept | {"for": "openvino"} if given["calibrate"] else kept
        return given

    @model_validator(mode="after")
    def _static_for_others(self) -> Self:
        if self.for_ and "activations" in self.model_fields_set and self.activations != "static":
            raise ValueError(f"activations are static for {self.for_}, got {self.activations}; leave activations out")
        return self

    def without_effect(self) -> set[str]:
        """As for any step, but with two kinds of activations the faster is chosen by timing it with ``threads``."""
        return super().without_effect() - ({"threads"} if len(self.kinds) > 1 else set())

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of activations to try."""
        if self.for_:
            return ("static",)
        return ("dynamic", "static") if self.activations == "auto" else (self.activations,)


class BenchConfig(Settings):
    """bench: accuracy on the test split, latency and size of each model, side by side."""

    command: ClassVar[str] = "bench"
    split: Literal["test", "validation"] = setting(
        "test", "the texts to judge by; what was chosen on validation texts looks better on them than it is"
    )
    seed: Seed = setting(0, "seed of the bootstrap and of the texts that are timed")
    device: Literal["cpu", "cuda"] = setting("cpu", "where to run the models")
    backends: Annotated[list[Backend], BeforeValidator(as_list)] = setting(
        [],
        "what to run each model on, a row of the report each, such as torch,torch-bf16,onnxruntime;"
        " default: its own in fp32; with --device cuda PyTorch in each precision, compiled, in CUDA graphs, unpadded",
    )
    provider: Annotated[str | None, Names.OTHER] = setting(
        None,
        "onnxruntime's execution provider for ONNX models, such as OpenVINO; default: CPU, or CUDA with --device cuda",
    )
    batch: PositiveInts = setting(
        [], "batch sizes of the fixed-shape grid, such as 1,8; default with --device cuda: 1 to 1024"
    )
    length: PositiveInts = setting(
        [],
        "lengths in tokens of the fixed-shape grid, such as 32,128; default with --device cuda: 128, or the"
        " longest that all models take",
    )
    threads: PositiveInts | None = setting(
        None, "thread counts to measure, such as 1,2; default: all that this process may use"
    )
    instances: PositiveInts = setting(
        [],
        "numbers of processes that answer side by side, sharing the CPUs evenly, such as 1,2; finds the"
        " best split for this machine",
    )
    seconds: float = setting(6.0, "time to spend on each model and shape", gt=0, le=3600)
    baselines: bool = setting(
        False, "add TF-IDF and static embeddings under logistic regression, trained on the train split"
    )
    rate: float | None = setting(
        None, "texts a second that arrive at random (Poisson), for the latencies that users would see", gt=0, le=1e6
    )
    price_per_hour: float | None = setting(
        None, "what this machine costs an hour; adds the cost of a million texts", gt=0, le=1e6
    )
    metric: Metric | None = setting(
        None, "what to report; f1 is of the second of two labels; default: accuracy, or macro_f1 for multi-label"
    )

    @model_validator(mode="after")
    def _backends_suit_the_device(self) -> Self:
        for backend in self.backends:
            if self.device == "cpu" and {"tf32", "fp16", "graphs"} & set(backend.split("-")):
                raise ValueError(f"cannot run {backend} on a CPU; give device cuda, or backends torch or torch-bf16")
            if self.device == "cuda" and backend == "openvino":
                raise ValueError("cannot run openvino on a GPU; leave it out of backends, or give device cpu")
        return self
