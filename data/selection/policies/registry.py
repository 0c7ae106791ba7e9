"""Which frames to keep: each policy is one function `(signals, keys) -> Selection`.

All take the same budget `keys.max`, all return true times in order with a reason per frame, and
rank their frames so that a prompt that must become shorter loses the least valuable first.
"""

from __future__ import annotations

from collections.abc import Callable

from data.sample import Selection
from data.selection.config import FrameKeys
from data.selection.measure.signals import Signals
from data.selection.policies.baselines import fps, keyframes, shots, smolvlm, topn, uniform
from data.selection.policies.embedding import embedding, query
from data.selection.policies.kts import kts
from data.selection.policies.motion import motion
from data.selection.policies.pixels import correlation, l1, l2
from data.selection.policies.scene import scene

POLICY_VERSION = 3
"""Raised when the same keys would choose other frames; stored with every prepared dataset."""

Policy = Callable[[Signals, FrameKeys], Selection]

POLICIES: dict[str, Policy] = {
    "scene": scene,
    "uniform": uniform,
    "fps": fps,
    "smolvlm": smolvlm,
    "l1": l1,
    "l2": l2,
    "correlation": correlation,
    "shots": shots,
    "embedding": embedding,
    "motion": motion,
    "keyframes": keyframes,
    "topn": topn,
    "kts": kts,
    "query": query,
}


def select(signals: Signals, keys: FrameKeys) -> Selection:
    """Apply the policy that `keys` names."""
    return POLICIES[keys.policy](signals, keys)
