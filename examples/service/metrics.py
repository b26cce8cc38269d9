"""What the service tells Prometheus."""

from fastapi import Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from compress.clock import Stopwatch

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Of one app, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter("classify_requests", "Requests answered.", ["status"], registry=registry)
        self.seconds = Histogram("classify_seconds", "From request to answer.", buckets=SECONDS, registry=registry)
        self.answers = Counter("classify_answers", "Texts classified.", ["label"], registry=registry)
        self.batch_texts = Histogram("classify_batch_texts", "Texts in a batch.", buckets=TEXTS, registry=registry)
        self.waiting = Gauge("classify_waiting_texts", "Texts in the queue.", registry=registry)

    def page(self) -> Response:
        """All of them, as Prometheus reads them."""
        return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)


class Measured:
    """Middleware that counts and times the requests to one path."""

    def __init__(self, app: ASGIApp, metrics: Metrics, path: str) -> None:
        self._app = app
        self._metrics = metrics
        self._path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http" or scope["path"] != self._path:
            await self._app(scope, receive, send)
            return
        watch, status = Stopwatch(), 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            self._metrics.requests.labels(status).inc()
            self._metrics.seconds.observe(watch.seconds)
