"""A stand-in for the Hub on this machine: the real client talks HTTP to it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlparse

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def serve(models: dict[str, Path], refused: dict[str, tuple[int, str]]) -> Iterator[str]:
    """Serve folders as model repositories; `refused` names get a status and an error code."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def log_message(self, format: str, *args: object) -> None:
            pass

        def _answer(self, *, body: bool) -> None:
            path = unquote(urlparse(self.path).path).strip("/")
            parts = path.removeprefix("api/models/").split("/")
            name = "/".join(parts[:2])
            if name in refused:
                return self._error(*refused[name])
            if name not in models:
                return self._error(404, "RepoNotFound")
            if "resolve" not in parts:  # listings: nothing beyond the plain files
                return self._error(404, "EntryNotFound")
            if parts[3] not in ("main", COMMIT):
                return self._error(404, "RevisionNotFound")
            file = models[name] / "/".join(parts[4:])
            if not file.is_file():
                return self._error(404, "EntryNotFound")
            content = file.read_bytes()
            self.send_response(200)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                self.wfile.write(content)

        def _error(self, status: int, code: str) -> None:
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
