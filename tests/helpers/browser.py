"""A real headless Chromium, driven over its debugging pipe; nothing to install beside it."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")


@dataclass(frozen=True)
class Opened:
    """What became of a page."""

    problems: list[str]
    """Console errors, exceptions, refused loads."""
    screenshot: bytes
    values: list[Any]


@dataclass(frozen=True)
class Page:
    """A page that is open."""

    browser: Browser
    target: str
    session: str

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        return self.browser._call(method, self.session, **params)

    def evaluate(self, expression: str) -> Any:
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return found["result"].get("value")

    def wait(self, expression: str, seconds: float = 60) -> Any:
        """Until the expression is true."""
        end = time.monotonic() + seconds
        while not (value := self.evaluate(expression)):
            assert time.monotonic() < end, f"still waiting for {expression}"
            time.sleep(0.1)
        return value

    def watch(self, pattern: str) -> str:
        """From now on, note the first text on the page that matches, also if it is gone a moment later.
        Returns the expression to wait for."""
        self.evaluate(
            "window.watcher?.disconnect(); window.seen = ''; window.watcher = new MutationObserver("
            f"() => {{ window.seen ||= (document.body.innerText.match(/{pattern}/) || [''])[0] }}); "
            "watcher.observe(document.body, {childList: true, subtree: true, characterData: true})"
        )
        return "window.seen"

    def give_file(self, selector: str, *paths: Path) -> None:
        """As if chosen in the dialogue of a file input."""
        document = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=document, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=list(map(str, paths)))

    def screenshot(self) -> bytes:
        return base64.b64decode(self.call("Page.captureScreenshot")["data"])

    @property
    def problems(self) -> list[str]:
        return self.browser._problems


class Browser:
    """`with Browser(profile) as browser: browser.open(path, …)`."""

    def __init__(self, profile: Path):
        program = next((p for p in map(shutil.which, NAMES) if p), None)
        if program is None:
            pytest.skip("no Chromium on this machine")
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        flags = "--headless --no-sandbox --disable-gpu --remote-debugging-pipe --hide-scrollbars"
        self._process = subprocess.Popen(
            ["bash", "-c", f'exec "$0" {flags} --user-data-dir="$1" 3<&{theirs_in} 4>&{theirs_out}', program, str(profile)],
            pass_fds=(theirs_in, theirs_out),
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(theirs_in)
        os.close(theirs_out)
        self._buffer, self._count = b"", 0
        self._problems: list[str] = []

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._in)
        os.close(self._out)

    def open(self, path: Path, *, width: int, expressions: list[str]) -> Opened:
        """Load a local page at a width, wait until it is there, evaluate expressions in it."""
        page = self.page(path.as_uri(), width=width, mobile=True)
        values = [page.evaluate(e) for e in expressions]
        shot = page.screenshot()
        self._call("Target.closeTarget", targetId=page.target)
        return Opened(self._problems, shot, values)

    def page(self, url: str, *, width: int, mobile: bool = False) -> Page:
        """Load a page and stay on it."""
        self._problems = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self._call(f"{domain}.enable", session)
        self._call(
            "Emulation.setDeviceMetricsOverride",
            session,
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=mobile,
        )
        self._call("Page.navigate", session, url=url)
        while self._read().get("method") != "Page.loadEventFired":
            pass
        return Page(self, target, session)

    def _call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._count:
                assert "error" not in answer, answer
                return answer["result"]

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            got = os.read(self._in, 1 << 16)
            assert got, "Chromium closed its pipe"
            self._buffer += got
        raw, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(raw)
        params = message.get("params", {})
        if message.get("method") == "Runtime.exceptionThrown":
            self._problems.append(str(params["exceptionDetails"]))
        if message.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
            self._problems.append(params["entry"]["text"])
        if message.get("method") == "Runtime.consoleAPICalled" and params["type"] == "error":
            self._problems.append(str(params["args"]))
        return message
