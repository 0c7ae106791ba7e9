"""Pages that work offline: one file each, nothing loaded, every text escaped."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

HERE = Path(__file__).parent


def render(template: Path, **values: Any) -> str:
    """A template that extends `base.html`; `title` is the least that it needs."""
    environment = Environment(
        loader=FileSystemLoader([template.parent, HERE]), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template(template.name).render(**values)


def data_url(picture: bytes, kind: str = "jpeg") -> str:
    """An encoded picture as an address that holds it."""
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"
