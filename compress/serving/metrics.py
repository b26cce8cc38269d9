"""The service's metrics for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """The metrics of one service, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = to = CollectorRegistry()
        ProcessCollector(registry=to)
        self.requests = Counter("classify_requests", "Requests; 499: the client left.", ["status"], registry=to)
        self.seconds = Histogram("classify_seconds", "From request to answer.", buckets=_SECONDS, registry=to)
        self.answers = Counter(
            "classify_answers",
            "Texts by the label given, a text with several under each; label -: none given, or abstained.",
            ["model", "label"],
            registry=to,
        )
        self.batch_texts = Histogram("classify_batch_texts", "Texts a batch.", ["model"], buckets=_TEXTS, registry=to)
        self.waiting = Gauge("classify_waiting_texts", "Texts in the queue.", ["model"], registry=to)

    def page(self) -> bytes:
        """All metrics in the format that Prometheus reads."""
        return generate_latest(self._registry)
