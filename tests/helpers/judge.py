"""A judge on this machine: a server that speaks the chat-completions protocol and knows words."""

from __future__ import annotations

import base64
import io
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
from PIL import Image


@dataclass
class Bench:
    """How the judge behaves, and what it was asked."""

    url: str = ""
    asked: list[dict] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    failing: int = 0
    """So many of the next requests are answered by 429."""
    status: int = 200
    """Of all answers."""
    mumbles: bool = False
    """Answers that are no JSON."""
    says: Callable[[dict], str] | None = None
    """A request → the answer, of a server that is no judge."""
    serves: list[str] = field(default_factory=lambda: ["the-model"])


def verdict(prompt: str) -> str:
    """Entailed: all words of the event are in the description; contradicted: it says "never"."""
    if "Description:" in prompt:
        text, events = prompt.split("Description:")[1].split("Events:")
        known = set(re.findall(r"\w+", text.lower()))
        words = []
        for event in re.split(r"\n?\d+\. ", "\n" + events.strip())[1:]:
            inside = set(re.findall(r"\w+", event.lower())) <= known
            words.append(
                "entailed" if inside else "contradicted" if "never" in event else "neutral"
            )
        return "Here it is:\n```json\n" + json.dumps({"relations": words}) + "\n```"
    if "Reference:" in prompt:
        true, said = re.search(r"Reference: (.*)\nCaption: (.*)", prompt, re.S).groups()
        return json.dumps({"score": 10 if true == said else 5})
    text = prompt.split('"""')[1]
    return json.dumps({"events": [s.strip() for s in text.split(".") if s.strip()]})


def looked(content: list[dict]) -> str:
    """Entailed: the event says `bright` and the first picture is, or `dark`; contradicted: the other way about."""
    *pictures, text = content
    url = pictures[0]["image_url"]["url"]
    picture = Image.open(io.BytesIO(base64.b64decode(url.split(",", 1)[1]))).convert("L")
    right, wrong = ("bright", "dark") if np.asarray(picture).mean() > 128 else ("dark", "bright")
    words = [
        "entailed" if right in event else "contradicted" if wrong in event else "neutral"
        for event in re.split(r"\n\d+\. ", text["text"].split("Events:")[1])[1:]
    ]
    return json.dumps({"relations": words})


@contextmanager
def judging() -> Iterator[Bench]:
    bench = Bench()
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                bench.asked.append(body)
                bench.keys.append(self.headers.get("Authorization", ""))
                failing, bench.failing = bench.failing > 0, max(0, bench.failing - 1)
            if failing or bench.status != 200:
                self._send(429 if failing else bench.status, {"error": {"message": "not now"}})
                return
            if bench.says is not None:
                answer = bench.says(body)
            else:
                prompt = body["messages"][0]["content"]
                told = verdict if isinstance(prompt, str) else looked
                answer = "hm." if bench.mumbles else told(prompt)
            choice = {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": answer},
            }
            self._send(
                200,
                {
                    "id": "x",
                    "object": "chat.completion",
                    "created": 0,
                    "model": body["model"],
                    "choices": [choice],
                },
            )

        def do_GET(self) -> None:
            models = [
                {"id": n, "object": "model", "created": 0, "owned_by": "x"} for n in bench.serves
            ]
            self._send(200, {"object": "list", "data": models})

        def _send(self, status: int, content: dict) -> None:
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            if status == 429:
                self.send_header("Retry-After", "0")
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    bench.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield bench
    finally:
        server.shutdown()
        server.server_close()
