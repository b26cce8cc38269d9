"""The process that serves: its socket, its models, and how it ends.

After SIGTERM, ``/readyz`` answers 503. Requests are still answered, each answer closing its connection, until none has
come for a second, or half of ``drain_s`` is over. Then no new connection is accepted, open requests have the rest of
``drain_s`` to be sent and answered, and those that are not whole by then are refused.
"""

import asyncio
import ctypes
import errno
import re
import socket
import struct
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import FrameType

import uvicorn

from compress.clock import Stopwatch
from compress.errors import CompressError
from compress.paths import local_path
from compress.runtime.classifier import Classifier, load
from compress.serving.app import create_app
from compress.serving.guard import Traffic
from compress.serving.request_limits import RequestLimits

_QUIET_S = 1.0  # how long no request must come before the service stops accepting connections
_LAST_HANDSHAKES_S = 0.2  # time to accept connections that are just being made
_KEEP_ALIVE_S = 75  # longer than proxies and clients keep idle connections, so that they and not the service close them
# By default the event loop keeps Python's lock for 5 ms at a time, while the model's thread waits for it after each of
# its short runs: at 600 requests a second p99 was 239 ms, with this interval 11 ms.
_SWITCH_INTERVAL_S = 0.0002
_SO_ATTACH_FILTER = 26
# A BPF program for a listening socket: drop packets that open a connection (SYN without ACK), let all others pass.
_DROP_SYN = ((0x30, 0, 0, 13), (0x54, 0, 0, 0x12), (0x15, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))


def serve(
    models: Sequence[str],
    *,
    host: str,
    port: int,
    threads: int,
    limits: RequestLimits,
    drain_s: float,
    say_ready: Callable[[str, list[str]], None],
) -> None:
    """Serve models until SIGTERM or Ctrl-C, and return when all accepted requests are answered.

    Args:
        models: ``NAME=FOLDER``, or a folder, which is served by its own name.
        host: the address to listen on.
        port: the port, or 0 for any that is free.
        threads: CPU threads for each model.
        limits: how much the service accepts.
        drain_s: the most seconds that shutting down may take.
        say_ready: called with the address and the models' names once requests are accepted.

    Raises:
        CompressError: a model cannot be loaded, or the address cannot be used.
    """
    folders = _named(models)
    with _listening(host, port) as listener, ExitStack() as opened:
        classifiers: dict[str, Classifier] = {
            name: opened.enter_context(load(folder, threads=threads, instances=threads))
            for name, folder in folders.items()
        }
        sys.setswitchinterval(_SWITCH_INTERVAL_S)
        traffic = Traffic()
        config = uvicorn.Config(
            create_app(classifiers, limits, traffic),
            log_level="warning",
            access_log=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            server_header=False,
            ws="none",
        )
        address = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
        _Server(config, traffic, drain_s, lambda: say_ready(address, list(folders))).run([listener])


class _Server(uvicorn.Server):
    """Uvicorn's server, with a shutdown in two steps."""

    def __init__(self, config: uvicorn.Config, traffic: Traffic, drain_s: float, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._traffic = traffic
        self._drain_s = drain_s
        self._ready = ready
        self._draining = Stopwatch()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Start to shut down at the first signal; end at once at the second."""
        del sig, frame
        if self._traffic.draining:
            self.should_exit = self.force_exit = True
        else:
            self._draining = self._traffic.since_request = Stopwatch()
            self._traffic.draining = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to serve, and say so."""
        await super().startup(sockets)
        self._ready()

    async def on_tick(self, counter: int) -> bool:
        """Whether to end; asked ten times a second."""
        quiet = self._traffic.answering == 0 and self._traffic.since_request.seconds > _QUIET_S
        drained = self._traffic.draining and (quiet or self._draining.seconds > self._drain_s / 2)
        return await super().on_tick(counter) or drained

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more connections, and answer open requests."""
        for listener in sockets or ():
            _refuse_connections(listener)
        await asyncio.sleep(0 if self.force_exit else _LAST_HANDSHAKES_S)
        self.config.timeout_graceful_shutdown = max(1, round(self._drain_s - self._draining.seconds))
        await super().shutdown(sockets)


def _named(models: Sequence[str]) -> dict[str, Path]:
    """The folder of each model by its name."""
    folders: dict[str, Path] = {}
    for model in models:
        name, named, folder = model.partition("=")
        if not named or local_path(model).exists():
            name, folder = local_path(model).resolve().name, model
        if not re.fullmatch(r"[\w.-]+", name):
            raise CompressError(f'serve: "{name}" cannot be part of an address; give a name, as NAME={folder}')
        if name in folders:
            raise CompressError(f'serve: two models are named "{name}"; give one of them another, as NAME={folder}')
        folders[name] = local_path(folder)
    return folders


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens before the models are loaded: the address is taken, and early clients wait."""
    if not 0 <= port <= 65535:
        raise CompressError(f"serve: --port must be from 0 to 65535, got {port}")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with ExitStack() as unless_bound:
            listener = unless_bound.enter_context(socket.socket(family, socket.SOCK_STREAM))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen()
            unless_bound.pop_all()
    except UnicodeError:  # an empty part between dots, or one that is too long
        raise CompressError(f"serve: --host {host} is no name of a machine; choose another") from None
    except OSError as error:
        advice = "--port" if error.errno == errno.EADDRINUSE else "--host and --port"
        raise CompressError(
            f"serve: cannot listen on {host}:{port} ({error.strerror}); choose another {advice}"
        ) from None
    return listener


def _refuse_connections(listener: socket.socket) -> None:
    """Have Linux drop packets that would open a connection, and still complete connections that are being made.

    Closing the listener would reset the connections that the process has not accepted yet.
    """
    program = b"".join(struct.pack("HBBI", *step) for step in _DROP_SYN)
    held = ctypes.create_string_buffer(program)
    with suppress(OSError):  # another system
        descriptor = struct.pack("HP", len(_DROP_SYN), ctypes.addressof(held))
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, descriptor)
