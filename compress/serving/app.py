"""The paths of the service, as FastAPI describes them in ``/openapi.json``."""

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, ConfigDict, Field

from compress.runtime.classifier import Classifier, Prediction
from compress.runtime.encoding import Text
from compress.serving.batching import Batcher, BusyError
from compress.serving.guard import Guard, Traffic
from compress.serving.metrics import Metrics
from compress.serving.request_limits import RequestLimits
from compress.task import reads_pairs
from compress.version import __version__

_RETRY_AFTER_S = 1


class Question(BaseModel):
    """One text, or many."""

    model_config = ConfigDict(extra="forbid")
    text: str | None = Field(default=None, description="a text")
    text_pair: str | None = Field(default=None, description="the second text, for models of pairs")
    texts: list[str | tuple[str, str]] | None = Field(
        default=None, description="in place of text: many; for models of pairs, lists of two"
    )


class Refusal(BaseModel):
    """Why there is no answer."""

    detail: str


class Model(BaseModel):
    """A model that is served."""

    name: str
    task: str
    labels: tuple[str, ...]
    precision: str


_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": Refusal, "description": "not JSON"},
    404: {"model": Refusal, "description": "no such model"},
    408: {"model": Refusal, "description": "the body did not come in time"},
    413: {"model": Refusal, "description": "too many texts, or a text or the body too long"},
    415: {"model": Refusal, "description": "the content type is not JSON"},
    422: {"model": Refusal, "description": "not a question for this model"},
    500: {"model": Refusal, "description": "the model failed; the service's log says why"},
    503: {"model": Refusal, "description": "the queue is full; Retry-After says when to ask again"},
}


def create_app(classifiers: Mapping[str, Classifier], limits: RequestLimits, traffic: Traffic) -> FastAPI:
    """The app that serves these models by name; ``/classify`` asks the first."""
    metrics = Metrics()
    batchers = {
        name: Batcher(classifier, limits.queue, metrics.batch_texts.labels(name).observe)
        for name, classifier in classifiers.items()
    }
    for name, batcher in batchers.items():
        metrics.waiting.labels(name).set_function(partial(getattr, batcher, "waiting"))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as running:
            for batcher in batchers.values():
                await running.enter_async_context(batcher)
            yield

    app = FastAPI(title="Text classification", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.add_middleware(Guard, traffic=traffic, metrics=metrics, most_bytes=limits.body_bytes)
    app.add_exception_handler(RequestValidationError, _refuse_invalid)

    async def answer(name: str, question: Question) -> Prediction | list[Prediction]:
        texts = _texts(question, limits, pairs=reads_pairs(classifiers[name].task))
        try:
            predictions = await batchers[name](texts)
        except BusyError:
            busy = "the queue is full; ask again later"
            raise HTTPException(503, busy, headers={"Retry-After": str(_RETRY_AFTER_S)}) from None
        except Exception:  # whatever the model raises
            logging.getLogger("uvicorn.error").exception("%s failed", name)
            raise HTTPException(500, f"the model {name} failed on this; the service's log says why") from None
        for prediction in predictions:
            for label in prediction.labels or ("-",):
                metrics.answers.labels(name, label).inc()
        return predictions if question.texts is not None else predictions[0]

    first = next(iter(classifiers))

    @app.post("/classify", responses=_REFUSALS)
    async def classify(question: Question) -> Prediction | list[Prediction]:
        """Ask the first model."""
        return await answer(first, question)

    @app.post("/models/{name}/classify", responses=_REFUSALS)
    async def classify_by(name: str, question: Question) -> Prediction | list[Prediction]:
        """Ask a model by its name."""
        if name not in classifiers:
            raise HTTPException(404, f"there is no model {name:.80}; there are {', '.join(classifiers)}")
        return await answer(name, question)

    _add_state(app, classifiers, batchers, traffic, metrics)
    return app


def _add_state(
    app: FastAPI,
    classifiers: Mapping[str, Classifier],
    batchers: Mapping[str, Batcher],
    traffic: Traffic,
    metrics: Metrics,
) -> None:
    """Add the paths for models, health and metrics, and the page to try the service on."""

    @app.get("/models")
    async def models() -> list[Model]:
        """What is served."""
        return [
            Model(name=name, task=model.task, labels=model.labels, precision=model.precision)
            for name, model in classifiers.items()
        ]

    @app.get("/healthz")
    async def health() -> JSONResponse:
        """200 while what is asked will be answered; if not, replace this process."""
        alive = all(batcher.alive for batcher in batchers.values())
        return JSONResponse({"alive": alive}, 200 if alive else 503)

    @app.get("/readyz")
    async def ready() -> JSONResponse:
        """200 while there is room in the queue and the service is not about to end; else send requests elsewhere."""
        ready = not traffic.draining and all(batcher.accepts() for batcher in batchers.values())
        waiting = {name: batcher.waiting for name, batcher in batchers.items()}
        return JSONResponse({"ready": ready, "waiting": waiting}, 200 if ready else 503)

    @app.get("/metrics")
    async def exposed() -> Response:
        """For Prometheus."""
        return Response(metrics.page(), media_type=CONTENT_TYPE_LATEST)

    @app.get("/", include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))


def _texts(question: Question, limits: RequestLimits, *, pairs: bool) -> Sequence[Text]:
    """The texts or pairs that are asked about."""
    if (question.text is None) == (question.texts is None):
        raise HTTPException(422, "give text or texts, one of them")
    if question.texts is None:
        assert question.text is not None
        text_or_pair: Text = question.text if question.text_pair is None else (question.text, question.text_pair)
        texts: list[Text] = [text_or_pair]
    else:
        texts = question.texts
        if not texts or question.text_pair is not None:
            raise HTTPException(422, "texts is a list of one or more, and goes without text_pair")
    if len(texts) > limits.texts:
        raise HTTPException(413, f"{len(texts):,} texts are too many at once; send at most {limits.texts:,}")
    for number, text in enumerate(texts):
        if isinstance(text, str) == pairs:
            wanted = "pairs: give text and text_pair, or lists of two" if pairs else "single texts, not pairs"
            raise HTTPException(422, f"this model reads {wanted}")
        if not _is_unicode(text):
            raise HTTPException(422, f"text {number} has a lone surrogate, which is no character")
        longest = len(text) if isinstance(text, str) else max(map(len, text))
        if longest > limits.characters:
            too_long = f"text {number} has {longest:,} characters; send at most {limits.characters:,}"
            raise HTTPException(413, too_long)
    return texts


def _is_unicode(text: Text) -> bool:
    try:
        (text if isinstance(text, str) else "".join(text)).encode()
    except UnicodeEncodeError:
        return False
    return True


async def _refuse_invalid(request: Request, error: Exception) -> JSONResponse:
    """Say what is wrong and where, in one line, without the input, which may be long or not Unicode."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return JSONResponse({"detail": f"the body is not JSON ({first.get('ctx', {}).get('error', '')})"}, 400)
    if "json" not in request.headers.get("content-type", ""):
        return JSONResponse({"detail": "send JSON, with the header content-type: application/json"}, 415)
    match first["loc"][1:]:
        case ("texts", int(number), *_):  # neither a text nor a pair; either may have been meant
            detail = f"texts.{number}: must be a text, or for models of pairs a list of two"
        case where:
            place = ".".join(map(str, where)) or "the body"
            detail = f"{place}: {first['msg'][0].lower()}{first['msg'][1:]}"
    return JSONResponse({"detail": detail}, 422)
