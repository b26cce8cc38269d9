"""Settings of export and quantize."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from compress.config.training import ThreadsConfig


class ExportConfig(ThreadsConfig):
    """export: write an ONNX graph that gives the same logits, for any runtime, for a server, or as a single file."""

    command: ClassVar[str] = "export"
    pairs: bool = Field(
        default=False, description="the model reads pairs of texts; needed where it does not say so itself"
    )
    precision: Literal["fp32", "fp16"] = Field(default="fp32", description="arithmetic of the graph; fp16 is for GPUs")
    single_file: bool = Field(
        default=False,
        description="write one ONNX file that reads texts and answers with labels, the tokenizer inside",
    )
    for_: Literal["tei", "triton"] | None = Field(
        default=None,
        alias="for",
        description="lay the folder out for a server: tei (Hugging Face text-embeddings-inference) or triton (NVIDIA)",
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
    max_drop: float = Field(
        default=1.0, ge=0, le=100, description="refuse to write a model that loses more points than this on validation"
    )
    metric: Literal["accuracy", "macro_f1", "f1"] | None = Field(
        default=None,
        description="metric that --max-drop limits; f1 is of the second of two labels; default: the one that chose the "
        "model's checkpoint, else accuracy, or macro_f1 for multi-label",
    )
    portable: bool = Field(
        default=False,
        description="choose weights that no text can saturate on CPUs without VNNI; default: no validation text",
    )
    calibrate: Literal["percentile", "entropy"] | None = Field(
        default=None,
        description="fix the ranges of activations on validation texts, as OpenVINO and TensorRT want them (QDQ); "
        "default: compute them for each text, which onnxruntime runs fastest",
    )
