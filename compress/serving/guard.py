"""Middleware before the app: bounds the bodies, notices clients that leave or stall, and keeps count for shutdown."""

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from compress.clock import Stopwatch
from compress.serving.metrics import Metrics

_BODY_S = 30  # how long a client may take to send a body
_LINGER_S = 2  # how long a refused body is still read and thrown away: cut off sooner, its sender would not see why
_CLIENT_LEFT = 499  # nginx's number, which only the metrics show


@dataclass(slots=True)
class Traffic:
    """What the service must know to shut down without losing requests.

    Attributes:
        draining: whether the service is about to end: then each answer asks the client to close its connection.
        answering: the number of requests that are whole and not answered.
        since_request: the time since the last request's first byte.
    """

    draining: bool = False
    answering: int = 0
    since_request: Stopwatch = field(default_factory=Stopwatch)


class RefusedError(Exception):
    """A request that the app never sees."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


# Raised for requests that are still open when the time to shut down is over, and the server cancels them.
_ENDED = RefusedError(503, "the service ends before the request is answered; ask again")


class Guard:
    """Middleware: reads the bodies of POST requests, up to a limit, and cancels the work for clients that leave."""

    def __init__(self, app: ASGIApp, traffic: Traffic, metrics: Metrics, most_bytes: int) -> None:
        self._app = app
        self._traffic = traffic
        self._metrics = metrics
        self._most_bytes = most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self._traffic.since_request = watch = Stopwatch()
        status = _CLIENT_LEFT

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if self._traffic.draining:
                    message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            await send(message)

        if scope["method"] != "POST":
            await self._app(scope, receive, send_and_note)
            return
        try:
            await self._post(scope, receive, send_and_note)
        finally:
            self._metrics.requests.labels(status).inc()
            self._metrics.seconds.observe(watch.seconds)

    async def _post(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await self._body(scope, receive)
            if body is None:
                return
            self._traffic.answering += 1
            try:
                await _answer(self._app, scope, body, receive, send)
            finally:
                self._traffic.answering -= 1
        except RefusedError as refused:
            await _refuse(refused, receive, send)

    async def _body(self, scope: Scope, receive: Receive) -> bytes | None:
        """The whole body; None if the client left before its end."""
        too_large = RefusedError(413, f"the body has over {self._most_bytes:,} bytes; send fewer texts at once")
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self._most_bytes:
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout(_BODY_S):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    body += message.get("body", b"")
                    if len(body) > self._most_bytes:
                        raise too_large
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError:
            raise RefusedError(408, f"the body did not come within {_BODY_S} s; send it at once") from None
        except asyncio.CancelledError:
            raise _ENDED from None


async def _answer(app: ASGIApp, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
    """Have the app answer, unless the client leaves before."""
    gone = asyncio.Event()
    task = asyncio.current_task()
    assert task is not None

    async def read_once() -> Message:
        nonlocal body
        whole, body = body, b""
        return {"type": "http.request", "body": whole, "more_body": False}

    async def watch() -> None:
        await receive()  # after the body comes only the end: the client has left, or has its answer
        gone.set()
        task.cancel()

    watching = asyncio.create_task(watch())
    try:
        await app(scope, read_once, send)
    except asyncio.CancelledError:
        if not gone.is_set():
            raise _ENDED from None
    finally:
        watching.cancel()


async def _refuse(refused: RefusedError, receive: Receive, send: Send) -> None:
    """Send the refusal, and end the connection once the client has sent its body, or after a while."""
    content = json.dumps({"detail": refused.detail}).encode()
    headers: list[Any] = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(content)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": content, "more_body": True})
    with suppress(TimeoutError):
        async with asyncio.timeout(0 if refused is _ENDED else _LINGER_S):
            while (await receive()).get("more_body", False):
                pass
    await send({"type": "http.response.body", "body": b"", "more_body": False})
