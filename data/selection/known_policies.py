"""The registry of frame policies: what each needs measured, which keys it uses, which function chooses.

A policy is a function `(signals, keys) -> Selection` in a file of `data/selection/policies/` and one
entry here. Every policy takes the budget `frames.max` and returns frames in time order, each with its
timestamp, a reason and a rank. When a prompt must become shorter, the frames of the highest rank go first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

POLICY_VERSION = 3
"""Increased whenever the same keys choose other frames than before, also by another selector that comes with
scenescribe; stored with every prepared dataset."""


@dataclass(frozen=True)
class Policy:
    """The properties of a policy. Its function is named, not imported, so that this module loads fast."""

    choose: str
    """`module:function` in `data.selection.policies`."""
    candidates: Literal["clearest", "clock", "ticks", "every frame", "key frames"]
    """Frames it may choose; their pictures are kept during the decode pass. In this order: the clearest of
    each short window, frames at times known beforehand, `frames.candidate_fps` per second, all, I-frames."""
    measures: Literal["signals", "cuts", "thumbs", "features"] = "signals"
    """What is measured in addition to the signals of each frame: PySceneDetect's cuts, the candidates' small
    grey pictures, or their features by `frames.encoder`."""
    keys: frozenset[str] = frozenset()
    """Keys that it uses, in addition to those of every policy (`SHARED`)."""
    methods: tuple[str, ...] = ()
    """Values of `frames.method`; the first is the default."""
    without_threshold: tuple[str, ...] = ()
    """Methods that do not use `frames.threshold`."""
    threshold: tuple[float, float] = (0.0, float("inf"))
    """Valid range of `frames.threshold`."""
    words: str = ""
    """How frames are chosen, in words for a model card."""


SHARED = frozenset(
    {
        "policy",
        "max",
        "window_s",
        "px",
        "tiles",
        "fast",
        "fast_grid",
        "outline",
        "outlined",
        "speed",
        "decoder",
    }
)
"""Keys that every policy uses."""
GREY = frozenset({"candidate_fps", "threshold", "size"})
"""Keys of the policies that compare small grey pictures."""

POLICIES: dict[str, Policy] = {
    "scene": Policy(
        "scene:scene",
        candidates="clearest",
        keys=frozenset({"boundaries", "selector", "selector_sha256", "min_shot_s", "max_gap_s"}),
        words="chosen by scene: shots are found by their cuts, dissolves and fades, the budget is spread "
        "over them, and each frame is a clear one away from transitions",
    ),
    "uniform": Policy("baselines:uniform", candidates="clock", words="evenly spaced"),
    "fps": Policy(
        "baselines:fps", candidates="clock", keys=frozenset({"fps"}), words="at a steady rate"
    ),
    "smolvlm": Policy(
        "baselines:smolvlm",
        candidates="clock",
        keys=frozenset({"fps"}),
        words="as transformers' SmolVLM video processor samples them",
    ),
    "l1": Policy("pixels:l1", candidates="ticks", measures="thumbs", keys=GREY, threshold=(0, 255)),
    "l2": Policy("pixels:l2", candidates="ticks", measures="thumbs", keys=GREY, threshold=(0, 255)),
    "correlation": Policy(
        "pixels:correlation",
        candidates="ticks",
        measures="thumbs",
        keys=GREY | {"method", "max_shift", "circular"},
        methods=("zscore", "frobenius"),
        threshold=(0, 1),
    ),
    "shots": Policy(
        "baselines:shots",
        candidates="every frame",
        measures="cuts",
        keys=frozenset({"detector", "detector_options", "threshold", "min_shot_s", "pick"}),
        words="one a shot, as PySceneDetect finds them",
    ),
    "embedding": Policy(
        "embedding:embedding",
        candidates="ticks",
        measures="features",
        keys=frozenset({"candidate_fps", "method", "threshold", "encoder"}),
        methods=("farthest", "neighbour", "facility", "maxvol", "longvu", "retake"),
        without_threshold=("farthest", "facility", "maxvol", "retake"),
        threshold=(-1, 1),
    ),
    "motion": Policy(
        "motion:motion",
        candidates="ticks",
        measures="thumbs",
        keys=frozenset({"candidate_fps", "size", "method"}),
        methods=("ssim", "flow", "vectors"),
    ),
    "keyframes": Policy("baselines:keyframes", candidates="key frames"),
    "learned": Policy(
        "learned:learned",
        candidates="clearest",
        keys=frozenset({"boundaries", "method", "selector", "selector_sha256", "min_shot_s"}),
        methods=("allocate", "topn", "proposals"),
        words="chosen by a small network that has learned which frames help a description",
    ),
    "topn": Policy("baselines:topn", candidates="clearest"),
    "kts": Policy("kts:kts", candidates="ticks", keys=frozenset({"candidate_fps"})),
    "query": Policy(
        "embedding:query",
        candidates="ticks",
        measures="features",
        keys=frozenset({"candidate_fps", "method", "encoder", "query"}),
        methods=("aks", "bolt"),
    ),
}
