"""A stand-in for the Hub on this machine: the real client talks HTTP to it."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlparse

COMMIT = "0123456789abcdef0123456789abcdef01234567"
Refusal = tuple[int, str]
LFS = (".parquet", ".safetensors", ".png")


@dataclass
class Seen:
    """What was asked of the stand-in."""

    requests: list[str] = field(default_factory=list)
    sent_bytes: dict[str, int] = field(default_factory=dict)
    """Content sent, by file."""
    failing: int = 0
    """So many of the next file requests are answered by 503."""
    failing_commits: int = 0
    """So many of the next commits are answered by 500."""
    uploaded: list[str] = field(default_factory=list)
    """Hashes of large files that were sent, in order."""


@contextmanager
def serve(
    models: Mapping[str, Path],
    refused: Mapping[str, Refusal],
    datasets: Mapping[str, Path] | None = None,
    gated: Mapping[str, Refusal] | None = None,
    seen: Seen | None = None,
) -> Iterator[str]:
    """Serve folders as repositories. `refused` names get a status and an error code for everything;
    `gated` ones show what they hold, and refuse its content. New datasets can be pushed to."""
    datasets, gated, seen = dict(datasets or {}), gated or {}, seen or Seen()
    uploads: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            if self.headers.get("Transfer-Encoding") == "chunked":
                content = b""
                while size := int(self.rfile.readline(), 16):
                    content += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
            else:
                content = self.rfile.read(length)
            self._posted(content)

        def do_PUT(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            uploads[self.path.rsplit("/", 1)[-1]] = content
            seen.uploaded.append(self.path.rsplit("/", 1)[-1])
            self._send(b"")

        def log_message(self, format: str, *args: object) -> None:
            pass

        def _answer(self, *, body: bool) -> None:
            path = unquote(urlparse(self.path).path).strip("/")
            seen.requests.append(f"{self.command} {path}")
            api = path.startswith("api/")
            path = path.removeprefix("api/")
            of_datasets = path.startswith("datasets/")
            parts = path.removeprefix("models/").removeprefix("datasets/").split("/")
            repos = datasets if of_datasets else models
            name, rest = "/".join(parts[:2]), parts[2:]
            if name in refused:
                return self._error(*refused[name])
            if name not in repos:
                return self._error(404, "RepoNotFound")
            if len(rest) > 1 and rest[1] not in ("main", COMMIT):
                return self._error(404, "RevisionNotFound")
            if name in gated and (rest[:1] in (["resolve"], ["auth-check"])):
                return self._error(*gated[name])
            if api:
                return self._about(name, repos[name], rest)
            if rest[:1] != ["resolve"]:
                return self._error(404, "EntryNotFound")
            file = repos[name] / "/".join(rest[2:])
            if not file.is_file():
                return self._error(404, "EntryNotFound")
            if body and seen.failing > 0:
                seen.failing -= 1
                return self._error(503, "")
            self._file(file, "/".join(rest[2:]), body=body)

        def _about(self, name: str, folder: Path, rest: list[str]) -> None:
            if rest == ["auth-check"]:
                return self._send(b"{}")
            files = [
                p.relative_to(folder).as_posix() for p in sorted(folder.rglob("*")) if p.is_file()
            ]
            if not rest or rest[0] == "revision":
                about = {
                    "_id": "1", "id": name, "sha": COMMIT, "private": name.startswith("you/"),
                    "gated": "auto" if name in gated else False, "tags": [], "downloads": 0, "likes": 0,
                    "siblings": [{"rfilename": f} for f in files],
                }  # fmt: skip
                return self._json(about)
            if rest[0] == "tree":
                below = "/".join(rest[2:])
                return self._json([_entry(folder, f) for f in files if f.startswith(below)])
            self._error(404, "EntryNotFound")

        def _file(self, file: Path, name: str, *, body: bool) -> None:
            content = file.read_bytes()
            status, total = 200, len(content)
            headers = {
                "X-Repo-Commit": COMMIT,
                "ETag": f'"{hashlib.sha1(content).hexdigest()}"',
                "Accept-Ranges": "bytes",
            }
            span = self.headers.get("Range")
            if span and body:
                start, _, end = span.removeprefix("bytes=").partition("-")
                last = min(int(end) if end else total - 1, total - 1)
                content = content[int(start) : last + 1]
                status, headers["Content-Range"] = 206, f"bytes {start}-{last}/{total}"
            seen.sent_bytes[name] = seen.sent_bytes.get(name, 0) + body * len(content)
            self._send(content, status, headers, body=body)

        def _posted(self, content: bytes) -> None:
            path = unquote(urlparse(self.path).path).strip("/")
            seen.requests.append(f"POST {path}")
            if path == "api/repos/create":
                asked = json.loads(content)
                owner = asked.get("organization") or "user"
                name = f"{owner}/{asked['name'].split('/')[-1]}"
                if name in refused:
                    return self._error(*refused[name])
                kind = "datasets/" if asked.get("type") == "dataset" else ""
                return self._json({"url": f"{_base(self)}/{kind}{name}", "name": name})
            path = path.removeprefix("api/")
            repos = datasets if path.startswith("datasets/") else models
            parts = path.removeprefix("datasets/").removeprefix("models/").split("/")
            name = "/".join(parts[:2]).removesuffix(".git")
            if name in refused:
                return self._error(*refused[name])
            if "paths-info" in parts:
                folder, asked = repos[name], json.loads(content)["paths"]
                return self._json([_entry(folder, p) for p in asked if (folder / p).exists()])
            if "preupload" in parts:
                files = [
                    {"path": f["path"], "shouldIgnore": False,
                     "uploadMode": "lfs" if f["path"].endswith(LFS) else "regular"}
                    for f in json.loads(content)["files"]
                ]  # fmt: skip
                return self._json({"files": files})
            if parts[-1] == "batch":
                asked = json.loads(content)["objects"]
                objects = [
                    o if o["oid"] in uploads  # there is no need to send it again
                    else {**o, "actions": {"upload": {"href": f"{_base(self)}/upload/{o['oid']}"}}}
                    for o in asked
                ]  # fmt: skip
                return self._json({"transfer": "basic", "objects": objects})
            if "commit" in parts:
                return self._commit(name, repos[name], content)
            self._json({"errors": [], "warnings": []})  # validate-yaml

        def _commit(self, name: str, folder: Path, content: bytes) -> None:
            if seen.failing_commits > 0:
                seen.failing_commits -= 1
                return self._error(500, "")
            for line in content.decode().splitlines():
                entry = json.loads(line)
                value = entry["value"]
                if entry["key"] == "deletedFile":
                    (folder / value["path"]).unlink()
                if entry["key"] not in ("file", "lfsFile"):
                    continue
                target = folder / value["path"]
                target.parent.mkdir(parents=True, exist_ok=True)
                if entry["key"] == "file":
                    target.write_bytes(base64.b64decode(value["content"]))
                else:
                    target.write_bytes(uploads[value["oid"]])
            self._json(
                {
                    "commitUrl": f"{_base(self)}/datasets/{name}/commit/{COMMIT}",
                    "commitOid": COMMIT,
                    "pullRequestUrl": None,
                }
            )

        def _json(self, value: object) -> None:
            self._send(json.dumps(value).encode(), headers={"Content-Type": "application/json"})

        def _send(
            self, content: bytes, status: int = 200, headers: Mapping[str, str] | None = None,
            *, body: bool = True,
        ) -> None:  # fmt: skip
            self.send_response(status)
            for key, value in (headers or {}).items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                self.wfile.write(content)

        def _error(self, status: int, code: str) -> None:
            self.send_response(status)
            if code:
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


def _entry(folder: Path, name: str) -> dict[str, object]:
    file = folder / name
    if file.is_dir():
        return {"type": "directory", "path": name, "oid": "0"}
    entry = {"type": "file", "path": name, "size": file.stat().st_size, "oid": "0" * 40}
    if name.endswith(LFS):
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
        entry["lfs"] = {"oid": sha256, "size": file.stat().st_size, "pointerSize": 130}
    return entry


def _base(handler: BaseHTTPRequestHandler) -> str:
    return f"http://{handler.headers['Host']}"


def environment(url: str, home: Path, **extra: str) -> dict[str, str]:
    """For a process that is to take the stand-in for the Hub."""
    return {
        "HF_ENDPOINT": url,
        "HF_HUB_OFFLINE": "0",
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "127.0.0.1",
        **extra,
    }
