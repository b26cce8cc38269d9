"""Settings of export and quantize."""

from typing import ClassVar, Literal

from pydantic import Field

from compress.config.training import ThreadsConfig


class ExportConfig(ThreadsConfig):
    """export: write an ONNX graph that gives the same logits."""

    command: ClassVar[str] = "export"
    pairs: bool = Field(
        default=False, description="the model reads pairs of texts; needed where it does not say so itself"
    )
    precision: Literal["fp32", "fp16"] = Field(default="fp32", description="arithmetic of the graph; fp16 is for GPUs")


class QuantizeConfig(ThreadsConfig):
    """quantize: write an ONNX graph with int8 weights and activations."""

    command: ClassVar[str] = "quantize"
    max_drop: float = Field(
        default=1.0, ge=0, le=100, description="refuse to write a model that loses more points than this on validation"
    )
    portable: bool = Field(
        default=False,
        description="choose weights that no text can saturate on CPUs without VNNI; default: no validation text",
    )
    calibrate: Literal["percentile", "entropy"] | None = Field(
        default=None,
        description="fix the ranges of activations on validation texts, as OpenVINO and TensorRT want them (QDQ); "
        "default: find them anew for each text, which onnxruntime runs fastest",
    )
