"""Settings of bench."""

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator

from compress.config.settings import Counts, Names, Settings, as_list, setting

Backend = Literal[
    "torch",
    "torch-bf16",
    "torch-compiled",
    "torch-bf16-compiled",
    "torch-tf32",
    "torch-fp16",
    "torch-tf32-compiled",
    "torch-fp16-compiled",
    "torch-graphs",
    "torch-tf32-graphs",
    "torch-bf16-graphs",
    "torch-fp16-graphs",
    "torch-varlen-bf16",
    "torch-varlen-fp16",
    "onnxruntime",
    "openvino",
]


class BenchConfig(Settings):
    """bench: accuracy on the test split, latency and size of each model, side by side."""

    command: ClassVar[str] = "bench"
    seed: int = setting(0, "seed of the bootstrap and of the texts that are timed", ge=0, le=2**31 - 1)
    device: Literal["cpu", "cuda"] = setting("cpu", "where to run the models")
    backends: Annotated[list[Backend], BeforeValidator(as_list)] = setting(
        [],
        "what to run each model on, a row of the report each, such as torch,torch-bf16,onnxruntime;"
        " default: its own in fp32, and with --device cuda PyTorch in each precision, compiled and in CUDA graphs",
    )
    provider: Annotated[str | None, Names.OTHER] = setting(
        None,
        "onnxruntime's execution provider for ONNX models, such as OpenVINO; default: CPU, or CUDA with --device cuda",
    )
    batch: Counts = setting(
        [], "batch sizes of the fixed-shape grid, such as 1,8; default with --device cuda: 1 to 1024"
    )
    length: Counts = setting(
        [],
        "lengths in tokens of the fixed-shape grid, such as 32,128; default with --device cuda: 128, or the"
        " longest that all models take",
    )
    threads: Counts | None = setting(
        None, "thread counts to measure, such as 1,2; default: all that this process may use"
    )
    instances: Counts = setting(
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
    metric: Literal["accuracy", "macro_f1", "f1"] | None = setting(
        None, "what to report; f1 is of the second of two labels; default: accuracy, or macro_f1 for multi-label"
    )
