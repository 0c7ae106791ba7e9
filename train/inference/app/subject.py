"""One subject of the video on the page: two clicks on an early frame are the corners of its box."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr
from PIL import Image

from data.regions import Track, parse_boxes
from data.selection.outline import with_outline

Picture = Image.Image | None


@dataclass(frozen=True)
class Marked:
    """The frame that is drawn on, and the corners that were clicked, as fractions of it."""

    time_s: float
    jpeg: bytes
    corners: tuple[tuple[float, float], ...] = ()

    @property
    def track(self) -> Track:
        """Empty until there are two corners that span a box."""
        if len(self.corners) < 2:
            return ()
        (x1, y1), (x2, y2) = self.corners
        box = [min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)]
        try:
            return parse_boxes([[self.time_s, *box]])
        except ValueError:  # both corners in one place
            return ()

    def picture(self) -> Image.Image:
        """With the box, if there is one."""
        track = self.track
        box = track[0].box if track else None
        jpeg = self.jpeg if box is None else with_outline(self.jpeg, box, "red")
        return Image.open(io.BytesIO(jpeg)).convert("RGB")

    def clicked(self, x: int, y: int) -> Marked:
        """With a further corner, in pixels; a third one begins anew."""
        width, height = Image.open(io.BytesIO(self.jpeg)).size
        before = self.corners if len(self.corners) < 2 else ()
        return Marked(self.time_s, self.jpeg, (*before, (x / width, y / height)))


def add_to(video: gr.Video, first: Callable[[str | None], tuple[float, bytes]]) -> gr.State:
    """Put the part of the page that marks a subject here; returns the state that holds a `Marked`, or None."""
    marked = gr.State(None)
    with gr.Accordion("one subject only", open=False, elem_id="subject"):
        gr.Markdown("Show a frame, then click two corners of a box around the subject.")
        with gr.Row():
            shown = gr.Button("Show a frame", size="sm", elem_id="show-frame")
            clear = gr.Button("The whole video again", size="sm", elem_id="clear-box")
        picture = gr.Image(
            interactive=False, show_label=False, elem_id="frame", type="pil", buttons=[]
        )

    def show(path: str | None) -> tuple[Marked, Picture]:
        one = Marked(*first(path))
        return one, one.picture()

    def click(one: Marked | None, event: gr.SelectData) -> tuple[Marked | None, Picture]:
        if one is None:
            return None, None
        x, y = event.index
        one = one.clicked(x, y)
        return one, one.picture()

    nothing: Any = lambda: (None, None)  # noqa: E731
    both = [marked, picture]
    shown.click(show, video, both, api_visibility="private")
    picture.select(click, marked, both, api_visibility="private")
    clear.click(nothing, outputs=both, api_visibility="private")
    video.change(nothing, outputs=both, api_visibility="private")
    return marked
