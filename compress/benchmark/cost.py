"""What a model costs besides its latency."""

from dataclasses import dataclass

from compress.benchmark.macs import ProductSizes, macs_per_text


@dataclass(frozen=True, slots=True)
class Cost:
    """None where this machine or model does not show a figure.

    Attributes:
        macs: multiply-accumulates of a text of ``mean_tokens`` tokens.
        mean_tokens: the mean length of the timed texts.
        tokenizer_p50_ms: the median time to make a text's token ids; not part of the latency.
        load_ms: importing the runtime and opening the model, with its files in the system's cache or not.
        first_answer_ms: the first text through tokenizer and model.
        peak_memory_bytes: the most that the worker held, answering the test split in batches included.
        peak_gpu_memory_bytes: the most that its tensors held on the GPU.
        joules_per_text: of all CPU packages whose counters may be read, and of the GPU of a model that ran there, while
            this model answered texts one at a time; idle cores are included.
        price_per_million_texts: at the best throughput measured, in the currency of the price that was given.
    """

    macs: int | None
    mean_tokens: float
    tokenizer_p50_ms: float
    load_ms: float
    first_answer_ms: float
    peak_memory_bytes: int | None
    peak_gpu_memory_bytes: int | None
    joules_per_text: float | None
    price_per_million_texts: float | None


@dataclass(frozen=True, slots=True)
class WorkerCosts:
    """What a worker reports at its end; see :class:`Cost`."""

    mean_tokens: float
    tokenizer_p50_ms: float
    load_ms: float
    first_answer_ms: float
    peak_memory_bytes: int | None
    peak_gpu_memory_bytes: int | None
    joules_per_text: float | None
    widths: ProductSizes | None

    def cost(self, price_per_hour: float | None, texts_per_s: float) -> Cost:
        """With the model's arithmetic and the price of a throughput of ``texts_per_s``."""
        return Cost(
            macs=macs_per_text(self.widths, self.mean_tokens) if self.widths else None,
            mean_tokens=self.mean_tokens,
            tokenizer_p50_ms=self.tokenizer_p50_ms,
            load_ms=self.load_ms,
            first_answer_ms=self.first_answer_ms,
            peak_memory_bytes=self.peak_memory_bytes,
            peak_gpu_memory_bytes=self.peak_gpu_memory_bytes,
            joules_per_text=self.joules_per_text,
            price_per_million_texts=None if price_per_hour is None else price_per_hour / 3600 / texts_per_s * 1e6,
        )
