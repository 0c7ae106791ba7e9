"""The page of scripts/app.py: upload a video, see the chosen frames and the answers; a time is a link to
that moment in the player."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import gradio as gr

from data.errors import UserError
from data.media import VideoFile
from data.sample import Sample
from data.selection.choose import choose_frames
from data.selection.known_policies import POLICIES
from data.sources import microworld
from data.sources.config import SourceKeys
from train.inference.app import subject
from train.inference.app.session import Lane, Models, first_frame, html, show
from train.inference.config import AppConfig
from train.run.saved import SavedRun

NEEDS_MORE = ("embedding", "query", "learned")
"""Policies that need an encoder, a query or a selector; offered only if the run uses them."""
KEPT_S = 3600
"""Seconds after which uploads are deleted."""
CSS = """
.scenes h3 { margin: 1rem 0 .3rem; }
.scenes ol { list-style: none; padding: 0; margin: .4rem 0; }
.scenes li { padding: .15rem 0; overflow-wrap: anywhere; }
.scenes button { all: unset; cursor: pointer; }
.scenes button:focus-visible { outline: 2px solid var(--color-accent); }
.scenes li button { font-variant-numeric: tabular-nums; color: var(--link-text-color); text-decoration: underline; }
.scenes .lane { position: relative; height: .8rem; border-radius: .2rem; background: var(--background-fill-secondary); border: 1px solid var(--border-color-primary); }
.scenes .bar { position: absolute; top: 0; height: 100%; box-sizing: border-box; min-width: 3px; opacity: .55; border-left: 2px solid var(--body-text-color); background: var(--color-accent); }
.scenes .lane i { position: absolute; top: 0; height: 100%; width: 2px; background: var(--body-text-color); }
.scenes .frames { display: grid; grid-template-columns: repeat(auto-fill, minmax(8rem, 1fr)); gap: .5rem; margin-top: .5rem; }
.scenes .frames img { width: 100%; border-radius: .2rem; }
.scenes .frames img { display: block; }
.scenes .frames span, .scenes .soft { font-size: .8rem; }
.several { border-top: 1px solid var(--border-color-primary); padding-top: .5rem; }
.several h2 { font-size: 1.05rem; overflow-wrap: anywhere; }
.several video { max-width: 100%; max-height: 20rem; }
.several .bad { color: var(--error-text-color); overflow-wrap: anywhere; }
.scenes .prose { white-space: pre-wrap; overflow-wrap: anywhere; }
"""
SEEK = """
<script>
document.addEventListener("click", event => {
  const clicked = event.target.closest("[data-seek]");
  const own = clicked && clicked.closest("[data-video]");
  const player = own ? own.querySelector("video") : document.querySelector("#video video");
  if (clicked && player) { player.currentTime = Number(clicked.dataset.seek); player.scrollIntoView({block: "nearest"}); }
});
</script>
"""


@dataclass(frozen=True)
class Example:
    """What the page shows before the first video."""

    video: Path
    html: str


def example_of(run: SavedRun, folder: Path) -> Example:
    """A clip rendered into a folder, its frames by the run's policy, and what truly happens in it."""
    (sample,) = microworld.read(SourceKeys(name="microworld", path=str(folder), seed=7, limit=1))
    assert isinstance(sample, Sample) and isinstance(sample.video, VideoFile)
    chosen = choose_frames(sample.video.path, run.frames)
    about = (
        "An example: a clip that scenescribe rendered, and what happens in it. “Describe the example” shows "
        "what the model says."
    )
    lane = Lane("what happens", sample.events, "")
    text = html([lane], chosen, run.frames.policy, about, seen_s=set(chosen.times_s))
    return Example(Path(sample.video.path), text)


def build(config: AppConfig, models: Models, example: Example) -> gr.Blocks:
    """The page, not yet served."""
    own = models.run.frames
    policies = [p for p in POLICIES if p not in NEEDS_MORE or p == own.policy]
    with gr.Blocks(
        title="scenescribe", analytics_enabled=False, delete_cache=(KEPT_S, KEPT_S)
    ) as page:
        gr.Markdown(
            f"## What happens, scene by scene\n`{config.adapter}` describes a video; click a time to go there."
        )
        with gr.Row():
            with gr.Column(scale=2, min_width=320):
                video = gr.Video(label="video", sources=["upload"], elem_id="video")
                with gr.Row():
                    policy = gr.Dropdown(
                        policies, value=own.policy, label="frame policy", elem_id="policy"
                    )
                    budget = gr.Slider(
                        own.least,
                        64,
                        value=min(own.max, 64),
                        step=1,
                        label="maximum frames",
                        elem_id="budget",
                    )
                both = gr.Checkbox(
                    value=models.has_base,
                    label="compare with the base model",
                    interactive=models.has_base,
                )
                go = gr.Button("Describe", variant="primary", elem_id="go")
                with gr.Accordion("several videos", open=False):
                    files = gr.File(
                        file_count="multiple",
                        file_types=["video"],
                        label="described one after the other",
                        elem_id="files",
                    )
                marked = subject.add_to(video, partial(first_frame, config, models))
                tried = gr.Button("Describe the example", size="sm", elem_id="example")
            with gr.Column(scale=3, min_width=320):
                before = gr.HTML(example.html, elem_id="before")
                answer = gr.HTML(elem_id="answer")

        def describe(
            path: str | None,
            policy: str,
            budget: float,
            both: bool,
            several: list[str] | None = None,
            marked: subject.Marked | None = None,
            progress: gr.Progress = gr.Progress(),  # noqa: B008 - so Gradio finds it
        ) -> Iterator[str]:
            paths = several or ([path] if path else [])
            yield from show(
                config,
                models,
                paths,
                policy,
                int(budget),
                with_base=both,
                boxes=marked.track if marked is not None else (),
                on_progress=lambda until: progress(0, desc=f"choosing frames: {until}"),
            )

        for button in (go, tried):
            button.click(lambda: gr.update(visible=False), outputs=before, api_visibility="private")
        asked = [video, policy, budget, both, files, marked]
        go.click(
            describe,
            asked,
            answer,
            concurrency_limit=1,
            concurrency_id="model",
            show_progress="full",
            api_name="describe",
        )
        tried.click(
            lambda: (str(example.video), None), outputs=[video, files], api_visibility="private"
        ).then(
            describe,
            asked,
            answer,
            concurrency_limit=1,
            concurrency_id="model",
            show_progress="full",
            api_visibility="private",
        )
    page.queue(max_size=config.max_queue)
    return page


def serve(config: AppConfig) -> None:
    """Load the models, then serve until interrupted.

    Raises:
        UserError: the port is taken, or the adapter or its base cannot be used.
    """
    with socket.socket() as tried:
        # as the server itself does: a port released a moment ago is free
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((config.host, config.port))
        except OSError as error:
            raise UserError(
                f"port={config.port}: not available at {config.host} ({error.strerror}); choose another"
            ) from None
    models = Models.load(config)
    with tempfile.TemporaryDirectory() as folder:
        build(config, models, example_of(models.run, Path(folder))).launch(
            server_name=config.host,
            server_port=config.port,
            share=config.share,
            max_file_size=f"{config.max_mb}mb",
            css=CSS,
            head=SEEK,
            footer_links=[],
        )
