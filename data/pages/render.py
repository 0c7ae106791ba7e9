"""Fill in templates: pages that work offline (one file, nothing loaded, every text escaped), and Markdown."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from data.storage import atomic

HERE = Path(__file__).parent


def render(template: Path, **values: Any) -> str:
    """The text of a template filled in with `values`. In a template that ends in `.html`, values are
    escaped; it may extend `base.html`, which needs a `title`."""
    return _template(template).render(**values)


def write_page(path: Path, template: Path, **values: Any) -> None:
    """Write a filled-in template to a file, piece by piece: for a page of very many things."""
    with atomic(path) as unfinished:
        _template(template).stream(**values).dump(str(unfinished), encoding="utf-8")


def _template(template: Path) -> Template:
    page = template.suffix == ".html"
    environment = Environment(
        loader=FileSystemLoader([template.parent, HERE]),
        autoescape=page,
        undefined=StrictUndefined,
        keep_trailing_newline=not page,
    )
    return environment.get_template(template.name)


def script_values(path: Path) -> dict[str, str]:
    """`script` and `script_hash` for a template whose policy allows that script only: a file of ours, without text from
    a dataset."""
    script = path.read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return {"script": Markup(script), "script_hash": digest}


def data_url(picture: bytes, kind: str = "jpeg") -> str:
    """An encoded picture as a `data:` URL."""
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"
