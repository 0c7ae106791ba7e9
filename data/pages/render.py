"""Fill in templates: pages that work offline (one file, nothing loaded, every text escaped), and Markdown."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

HERE = Path(__file__).parent


def render(template: Path, **values: Any) -> str:
    """The text of a template filled in with `values`. In a template that ends in `.html`, values are
    escaped; it may extend `base.html`, which needs a `title`."""
    page = template.suffix == ".html"
    environment = Environment(
        loader=FileSystemLoader([template.parent, HERE]),
        autoescape=page,
        undefined=StrictUndefined,
        keep_trailing_newline=not page,
    )
    return environment.get_template(template.name).render(**values)


def data_url(picture: bytes, kind: str = "jpeg") -> str:
    """An encoded picture as a `data:` URL."""
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"
