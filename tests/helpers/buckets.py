"""A bucket on this machine: moto's S3 over HTTP, reached by the real client."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import boto3
import pytest
import s3fs
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server
from werkzeug.wrappers import Response

KEYS = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "NO_PROXY": "127.0.0.1",
}


class Busy:
    """A server that is busy for a share of the requests."""

    def __init__(self, app, share: float):
        self._app, self.share, self._draw = app, share, random.Random(0)

    def __call__(self, environ, start_response):
        if self._draw.random() < self.share:
            return Response("slow down", status=503)(environ, start_response)
        return self._app(environ, start_response)


@contextmanager
def bucket(monkeypatch: pytest.MonkeyPatch, busy: float = 0.0) -> Iterator[str]:
    """`s3://NAME`, empty, and the environment in which clients find it; `busy`: share of 503s."""
    app = Busy(DomainDispatcherApplication(create_backend_app), 0.0)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    for name, value in {**KEYS, "AWS_ENDPOINT_URL": url}.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()  # of an earlier bucket, at another address
    try:
        boto3.client("s3").create_bucket(Bucket="bucket")
        app.share = busy
        yield "s3://bucket"
    finally:
        server.shutdown()
        thread.join()
