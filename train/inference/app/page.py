"""The page of scripts/app.py: upload a video, see the chosen frames and the answers; a time is a link to
that moment in the player."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import gradio as gr

from data.errors import UserError
from data.selection.known_policies import POLICIES
from train.inference.app.session import Models, show
from train.inference.config import AppConfig

NEEDS_MORE = ("embedding", "query")
"""Policies that need an encoder or a query; offered only if the run uses them."""
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
.scenes .prose { white-space: pre-wrap; overflow-wrap: anywhere; }
"""
SEEK = """
<script>
document.addEventListener("click", event => {
  const clicked = event.target.closest("[data-seek]");
  const player = document.querySelector("#video video");
  if (clicked && player) { player.currentTime = Number(clicked.dataset.seek); player.scrollIntoView({block: "nearest"}); }
});
</script>
"""


def build(config: AppConfig, models: Models) -> gr.Blocks:
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
                        1,
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
            with gr.Column(scale=3, min_width=320):
                answer = gr.HTML(elem_id="answer")

        def describe(path: str | None, policy: str, budget: float, both: bool) -> Iterator[str]:
            yield from show(config, models, path, policy, int(budget), with_base=both)

        go.click(
            describe,
            [video, policy, budget, both],
            answer,
            concurrency_limit=1,
            show_progress="full",
            api_name="describe",
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
    build(config, models).launch(
        server_name=config.host,
        server_port=config.port,
        share=config.share,
        max_file_size=f"{config.max_mb}mb",
        css=CSS,
        head=SEEK,
        footer_links=[],
    )
