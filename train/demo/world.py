"""The micro-world as the demo and the benches prepare it."""

from __future__ import annotations

from pathlib import Path

from data.offline.config import PrepareConfig
from data.selection.config import FrameKeys
from data.sources.config import SourceKeys


def world_keys(
    videos: str | Path,
    out: str | Path,
    *,
    limit: int,
    frames: int,
    policy: str = "scene",
    selector: str | None = None,
    seed: int = 0,
    film_s: tuple[float, float] | None = None,
    window_s: float | None = 60.0,
    busy: bool = False,
) -> PrepareConfig:
    """Keys to render `limit` videos into the folder `videos` and to prepare them as `out`."""
    return PrepareConfig(
        source=SourceKeys(
            name="microworld", path=str(videos), limit=limit, seed=seed, film_s=film_s, busy=busy
        ),
        frames=FrameKeys.model_validate(
            {
                "policy": policy,
                "selector": selector,
                "max": frames,
                "px": 96,
                "window_s": window_s,
            }
        ),
        out=str(out),
    )
