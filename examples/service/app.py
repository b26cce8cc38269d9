"""A classification service: POST /classify, GET /health, /ready and /metrics.

SERVICE_MODEL=runs/demo/int8 uvicorn --app-dir examples/service --factory app:create
"""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from batching import Batcher, BusyError, Limits, Text
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from metrics import Measured, Metrics
from pydantic import BaseModel, Field

import compress
from compress.task import reads_pairs

LONGEST_TEXT = 100_000  # characters; the model reads the first few thousand at most
RETRY_AFTER_S = 1
# The event loop would keep Python's lock for 5 ms at a time while the model's thread, back from each of its short runs,
# waits for it: at 600 requests a second p99 was 239 ms, with this 11 ms.
SWITCH_INTERVAL_S = 0.0002


class Question(BaseModel):
    """A text; for models of pairs, two."""

    text: str = Field(max_length=LONGEST_TEXT)
    text_pair: str | None = Field(default=None, max_length=LONGEST_TEXT)


class Answer(BaseModel):
    """As :class:`compress.Prediction`."""

    label: str
    score: float
    scores: dict[str, float]
    labels: tuple[str, ...]
    abstained: bool


def create() -> FastAPI:
    """The app, with the model that the environment names loaded; the README beside this file lists the settings."""
    classifier = compress.load(
        os.environ["SERVICE_MODEL"],
        threads=int(os.environ.get("SERVICE_THREADS", "1")),
        batch_tokens=int(os.environ.get("SERVICE_BATCH_TOKENS", "0")) or None,
    )
    limits = Limits(
        waiting=int(os.environ.get("SERVICE_WAITING", "256")),
        batch_characters=int(os.environ.get("SERVICE_BATCH_CHARACTERS", "8192")),
        wait_ms=float(os.environ.get("SERVICE_WAIT_MS", "0")),
    )
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    metrics = Metrics()
    batcher = Batcher(classifier, limits, metrics.batch_texts.observe)
    metrics.waiting.set_function(lambda: batcher.waiting)
    pairs = reads_pairs(classifier.task)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        with classifier:
            async with batcher:
                yield

    app = FastAPI(title="Text classification", lifespan=lifespan)
    app.add_middleware(Measured, metrics=metrics, path="/classify")
    app.add_exception_handler(RequestValidationError, _refused)

    @app.post("/classify")
    async def classify(question: Question) -> Answer:
        text = _text(question, pairs=pairs)
        try:
            found = await batcher(text)
        except BusyError:
            raise HTTPException(503, "busy; ask again later", headers={"Retry-After": str(RETRY_AFTER_S)}) from None
        metrics.answers.labels(found.label).inc()
        return Answer(**{name: getattr(found, name) for name in Answer.model_fields})

    @app.get("/health")
    async def health() -> JSONResponse:
        """Whether this process works; if not, replace it."""
        return JSONResponse({"alive": batcher.alive}, 200 if batcher.alive else 503)

    @app.get("/ready")
    async def ready() -> JSONResponse:
        """Whether to send more requests here."""
        return JSONResponse({"waiting": batcher.waiting}, 200 if batcher.accepts else 503)

    @app.get("/metrics")
    async def exposed() -> Response:
        return metrics.page()

    return app


def _text(question: Question, *, pairs: bool) -> Text:
    if pairs != (question.text_pair is not None):
        wanted = "pairs: give text and text_pair" if pairs else "single texts: give text alone"
        raise HTTPException(422, f"this model reads {wanted}")
    return question.text if question.text_pair is None else (question.text, question.text_pair)


async def _refused(_: Request, error: Exception) -> JSONResponse:
    """What is wrong and where, without the input: it may be long, or no Unicode."""
    assert isinstance(error, RequestValidationError)
    return JSONResponse({"detail": [{"loc": one["loc"], "msg": one["msg"]} for one in error.errors()]}, 422)
