"""Every frame policy: what it needs measured, which keys mean something to it, how it chooses.

A policy is a function `(signals, keys) -> Selection` in a file of `data/selection/policies/` and one
entry here. All take the same budget `frames.max`, return true times in order with a reason per frame,
and rank their frames, so that a prompt that must become shorter loses the least valuable first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

POLICY_VERSION = 3
"""Raised when the same keys would choose other frames; stored with every prepared dataset."""


@dataclass(frozen=True)
class Policy:
    """What is known of a policy before a video is opened. Imports nothing heavy."""

    choose: str
    """`module:function` in `data.selection.policies`."""
    candidates: Literal["clearest", "clock", "ticks", "every frame", "key frames"]
    """Frames it may choose, whose pictures are kept while the one decode pass runs by: the clearest of
    each short window, those at times known beforehand, `frames.candidate_fps` a second, all, or I-frames only."""
    measures: Literal["signals", "cuts", "thumbs", "features"] = "signals"
    """Beside each frame's signals: PySceneDetect's cuts, small grey pictures of the candidates, or their
    features by `frames.encoder`."""
    keys: frozenset[str] = frozenset()
    """Keys that mean something to it, beside those of every policy (`SHARED`)."""
    methods: tuple[str, ...] = ()
    """Values of `frames.method`; the first is the default."""
    without_threshold: tuple[str, ...] = ()
    """Methods that have none."""
    threshold: tuple[float, float] = (0.0, float("inf"))
    """Range of `frames.threshold`."""
    words: str = ""
    """How frames are chosen, for a model card."""


SHARED = frozenset({"policy", "max", "px", "speed", "decoder"})
"""Keys that mean something to every policy."""
GREY = frozenset({"candidate_fps", "threshold", "size"})

POLICIES: dict[str, Policy] = {
    "scene": Policy(
        "scene:scene",
        candidates="clearest",
        keys=frozenset({"min_shot_s", "max_gap_s"}),
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
