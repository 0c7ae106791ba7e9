"""Do describers that are trained and used with learned frames describe scenes better? As `compare_policies`, in each
world."""

from __future__ import annotations

from pathlib import Path

from data.errors import UserError
from train.bench.config_trained import BenchLearnedConfig, PoliciesConfig
from train.bench.learned import WORLDS, selector_folder
from train.bench.policies import compare_policies
from train.console import say

POLICIES = ("scene", "uniform", "learned")


def compare_scenes(config: BenchLearnedConfig) -> dict[str, float]:
    """Prepare with each policy, train, describe and score; returns flat figures. Results of an earlier call are
    reused. The frames are chosen by the selector that `rank` made of the first seed.

    Raises:
        UserError: that selector is not there: values are measured first.
    """
    figures: dict[str, float] = {}
    for world in config.worlds:
        selector = selector_folder(config, world, "rank", config.seeds[0])
        if not (selector / "selector.json").is_file():
            raise UserError(f"parts=scenes: needs {selector}; give parts=values,scenes")
        keys = PoliciesConfig(
            policies=POLICIES,
            selector=str(selector),
            busy=WORLDS[world],
            seeds=config.seeds,
            videos=config.videos,
            held_out=config.held_out,
            frames=config.scene_frames,
            steps=config.steps,
            prewarm_steps=config.prewarm_steps,
            mixed=False,
            workers=config.workers,
            work=str(Path(config.work) / f"scenes-{world}"),
        )
        say(f"{world}:")
        figures |= {f"{world}/scenes/{k}": v for k, v in compare_policies(keys).items()}
    return figures
