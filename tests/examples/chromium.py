"""A headless Chromium, steered by its DevTools protocol over a pipe: no driver or websocket library is needed."""

import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe")


class Page:
    """One tab."""

    def __init__(self, send: int, receive: int) -> None:
        self._send = send
        self._receive = os.fdopen(receive, "rb")
        self._count = 0
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def call(self, method: str, **parameters: object) -> Any:
        """The result of a command of the protocol."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._send, json.dumps(message).encode() + b"\0")
        while True:
            answer = json.loads(self._message())
            if answer.get("id") == self._count:
                assert "error" not in answer, answer
                return answer["result"]

    def evaluate(self, script: str) -> Any:
        """The value of an expression, awaited if it is a promise."""
        found = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait_for(self, script: str, seconds: int = 60) -> Any:
        """The value of an expression once it is true; what the page shows if it never is."""
        found = self.evaluate(
            f"new Promise((done) => {{ let left = {seconds * 20}; const look = () => {{ const value = ({script});"
            "if (value || left-- < 0) done(value); else setTimeout(look, 50); }; look(); })"
        )
        assert found, f"never true: {script}; the page says {self.evaluate('document.body.innerText')!r}"
        return found

    def _message(self) -> bytes:
        found = bytearray()
        while (byte := self._receive.read(1)) != b"\0":
            assert byte, "chromium ended"
            found += byte
        return bytes(found)


@contextmanager
def chromium(profile: Path) -> Iterator[Page]:
    """A browser with an empty profile, gone at the end of the block."""
    assert CHROMIUM is not None
    (theirs_in, ours_out), (ours_in, theirs_out) = os.pipe(), os.pipe()  # what one end writes, the other reads
    # The browser reads 3 and writes 4. Higher numbers for the shell to take them from, for ours may be 3 and 4.
    read, write = (fcntl.fcntl(pipe, fcntl.F_DUPFD, 10) for pipe in (theirs_in, theirs_out))
    connect = ["bash", "-c", f'exec "$@" 3<&{read} 4>&{write} {read}<&- {write}>&-', "bash"]
    command = [*connect, CHROMIUM, *_FLAGS, f"--user-data-dir={profile}"]
    with subprocess.Popen(command, pass_fds=(read, write), stderr=subprocess.DEVNULL) as browser:
        for pipe in (theirs_in, theirs_out, read, write):
            os.close(pipe)
        try:
            yield Page(ours_out, ours_in)
        finally:
            browser.terminate()
            os.close(ours_out)
