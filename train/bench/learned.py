"""Are learned values of frames worth it? Measured on the micro-world by the loss of a describer's answers.

A tiny describer is trained on each world, then the values of frames by each objective, on videos that the describer
has not seen. On held-out videos every policy chooses 4, 6 and 8 frames. The best subset of a pool of frames, found by a search
with the describer's own loss, is what a choice could reach at best; what `scene` loses to it is the gap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.config import load
from data.offline.prepare import prepare
from data.prepared.dataset import Prepared
from data.selection.config import FrameKeys
from data.selection.windows import choose_windows
from train.batches.split import split
from train.bench.config_trained import BenchLearnedConfig
from train.bench.seeds import in_pool, one_core_each, quietly, tiny_run, warmed_base
from train.console import say
from train.demo.world import world_keys
from train.evaluation.intervals import interval
from train.inference.answer_loss import Case, Describer
from train.run.saved import read_run
from train.selector.command import learned_from, train_selector
from train.selector.config import SelectorConfig
from train.selector.pool import PoolVideo, pool_of
from train.selector.subsets import changed, drawn

EVAL_SHARE = 0.1
WORLDS = {"plain": False, "busy": True}
FRAMES = 8
ROUNDS, EACH = 4, 16
"""Of the search for the best subset: it begins with so many drawn ones, then the best is changed."""
DRAWS = 1000


def policies_of(config: BenchLearnedConfig, world: str, seed: int) -> dict[str, dict[str, object]]:
    """Name in the table → keys of the frame policy."""
    found: dict[str, dict[str, object]] = {p: {"policy": p} for p in ("uniform", "scene", "topn")}
    for objective in config.objectives:
        for method in ("allocate", "topn"):
            found[f"{objective} ({method})"] = {
                "policy": "learned",
                "method": method,
                "selector": str(selector_folder(config, world, objective, seed)),
            }
    return found


def compare_values(config: BenchLearnedConfig) -> dict[str, float]:
    """Prepare, train and judge; returns flat figures. Results of an earlier call are reused."""
    prepare_worlds(config)
    pairs = [(config, world, seed) for seed in config.seeds for world in config.worlds]
    with one_core_each(config.workers) as pool:
        warm = [(config.work, seed, config.prewarm_steps) for seed in config.seeds]
        in_pool(pool, "warm up", warmed_base, warm)
        in_pool(pool, "train describers", _train, pairs)
        measure(config)
        learned = [(*pair, objective) for pair in pairs for objective in config.objectives]
        in_pool(pool, "train selectors", learn, learned)
        losses = in_pool(pool, "judge", _judge, pairs)
    of = {(str(w), seed): one for (_, w, seed), one in zip(pairs, losses, strict=True)}
    figures = _figures(config, of)
    say(table(config, figures))
    return figures


def prepare_worlds(config: BenchLearnedConfig) -> None:
    """Prepare each world, and other videos of it to learn a selector from; the videos whole."""
    work = Path(config.work)
    for world in config.worlds:
        for seed, (name, limit) in enumerate(
            ((world, config.videos), (learn_name(world), config.learn_videos))
        ):
            keys = world_keys(
                work / "videos",
                work / name,
                limit=limit,
                frames=FRAMES,
                seed=seed,
                window_s=None,
                busy=WORLDS[world],
            )
            prepare(keys)


def learn_name(world: str) -> str:
    """Of the dataset that selectors learn from."""
    return f"{world}-learn"


def measure(config: BenchLearnedConfig) -> None:
    """Measure the videos that selectors learn from and those held out, once for all selectors."""
    for world in config.worlds:
        held_pool(config, world)
        keys = _selector_keys(config, world, config.seeds[0], "events")
        learned_from(keys, _pool_folder(config, world))


def _pool_folder(config: BenchLearnedConfig, world: str) -> Path:
    return Path(config.work) / f"pool-{world}"


def _run(config: BenchLearnedConfig, world: str, seed: int) -> Path:
    return Path(config.work) / f"run-{world}-{seed}"


def selector_folder(config: BenchLearnedConfig, world: str, objective: str, seed: int) -> Path:
    return Path(config.work) / f"selector-{world}-{objective}-{seed}"


def _train(config: BenchLearnedConfig, world: str, seed: int) -> None:
    tiny_run(
        f"{config.work}/base-{seed}",
        f"{config.work}/{world}",
        _run(config, world, seed),
        steps=config.steps,
        seed=seed,
        more=[
            f"data.eval_share={EVAL_SHARE}",
            f"data.eval_max={config.held_out}",
            "data.target=paragraph",  # without times: of a scene that is not told, no frame helps
        ],
    )


def learn(config: BenchLearnedConfig, world: str, seed: int, objective: str) -> None:
    """Train a selector's part on a world, unless that is done."""
    out = selector_folder(config, world, objective, seed)
    if (out / "selector.json").exists():
        return
    out.mkdir(parents=True, exist_ok=True)
    with quietly(out / "log.txt"):
        keys = _selector_keys(config, world, seed, objective)
        train_selector(keys, _pool_folder(config, world))


def _selector_keys(
    config: BenchLearnedConfig, world: str, seed: int, objective: str
) -> SelectorConfig:
    describer = (
        f"adapter={_run(config, world, seed)}",
        f"budgets={','.join(map(str, config.budgets))}",
    )
    return load(
        SelectorConfig,
        [
            f"objective={objective}",
            f"data.path={config.work}/{learn_name(world)}",
            f"out={selector_folder(config, world, objective, seed)}",
            f"pool={config.pool}",
            f"videos={config.learn_videos}",
            f"seed={seed}",
            *(describer if objective != "events" else ()),
            *([] if config.selector_steps is None else [f"steps={config.selector_steps}"]),
        ],
    )


def held_pool(config: BenchLearnedConfig, world: str) -> list[PoolVideo]:
    """The held-out videos of a world, measured."""
    dataset = Prepared.open(f"{config.work}/{world}")
    rows = dataset.rows().select_columns(["id", "sample_id", "video_id"])
    held = split(rows, EVAL_SHARE, config.held_out).held_ids
    learned = FrameKeys(boundaries="learned")
    return pool_of(dataset, held, config.pool, learned, Path(config.work) / f"held-{world}")


@dataclass(frozen=True)
class Losses:
    """Losses on the held-out videos of one world and seed."""

    chosen: Mapping[str, Mapping[int, Sequence[float]]]
    """Policy → budget → loss of each video."""
    best: Mapping[int, Sequence[float]]
    """Budget → loss with the best subset that was found, of each video."""


def _judge(config: BenchLearnedConfig, world: str, seed: int) -> Losses:
    """The losses of every policy's frames, and of the best subsets of a pool."""
    folder = _run(config, world, seed)
    with quietly(folder / "judge.txt"):
        describer = Describer.load(read_run(folder))
        pool = held_pool(config, world)
        named = policies_of(config, world, seed)
        chosen = {name: {k: list[float]() for k in config.budgets} for name in named}
        best = {k: list[float]() for k in config.budgets}
        for number, video in enumerate(pool):
            path = f"{config.work}/videos/{video.row['sample_id']}.mp4"
            for budget in config.budgets:
                for name, options in named.items():
                    whole = {"max": budget, "px": 96, "window_s": None}
                    keys = FrameKeys.model_validate({**options, **whole})
                    chosen[name][budget].append(_loss_of_choice(describer, video, path, keys))
                reached = [chosen[name][budget][-1] for name in named]
                rng = np.random.default_rng([seed, number, budget])
                best[budget].append(min(*reached, searched(describer, video, budget, rng)))
    return Losses(chosen, best)


def _loss_of_choice(describer: Describer, video: PoolVideo, path: str, keys: FrameKeys) -> float:
    (frames,) = choose_windows(path, keys, threads=1)
    row = {**video.row, "times_s": list(frames.times_s)}
    every = tuple(range(len(frames)))
    return float(describer.losses([Case(row, describer.features(frames.jpegs), every)])[0])


def searched(
    describer: Describer, video: PoolVideo, budget: int, rng: np.random.Generator
) -> float:
    """The lowest loss that a search among subsets of the pool finds."""
    features = describer.features(video.jpegs)
    count = len(video.jpegs)
    size = min(budget, count)
    tried = [drawn(rng, count, size) for _ in range(EACH)]
    lowest, best = np.inf, tried[0]
    for _ in range(ROUNDS):
        losses = describer.losses([Case(video.row, features, subset) for subset in tried])
        if float(losses.min()) < lowest:
            lowest, best = float(losses.min()), tried[int(losses.argmin())]
        tried = [changed(rng, count, best) for _ in range(EACH)]
    return lowest


def _figures(config: BenchLearnedConfig, of: Mapping[tuple[str, int], Losses]) -> dict[str, float]:
    """Flat figures: mean losses, and the share of the gap between `scene` and the best subset that a policy closes,
    with intervals over videos; seeds are averaged per video first."""
    figures: dict[str, float] = {}
    for world in config.worlds:
        names = list(of[world, config.seeds[0]].chosen)
        for budget in config.budgets:
            best = np.mean([of[world, s].best[budget] for s in config.seeds], axis=0)  # (V,)
            mean = {
                name: np.mean([of[world, s].chosen[name][budget] for s in config.seeds], axis=0)
                for name in names
            }
            rng = np.random.default_rng(0)
            draws = rng.integers(0, len(best), (DRAWS, len(best)))
            key = f"{world}/{budget}"
            figures[f"{key}/best"] = float(best.mean())
            figures[f"{key}/videos"] = len(best)
            for name in names:
                figures[f"{key}/{name}"] = float(mean[name].mean())
                lead, gap = mean["scene"] - mean[name], mean["scene"] - best
                shares = lead[draws].mean(axis=1) / np.maximum(gap[draws].mean(axis=1), 1e-9)
                low, high = interval(shares)
                figures |= {
                    f"{key}/{name}/closed": float(lead.mean() / max(gap.mean(), 1e-9)),
                    f"{key}/{name}/closed/low": low,
                    f"{key}/{name}/closed/high": high,
                }
                for seed in config.seeds:
                    one = of[world, seed]
                    own = np.array(one.chosen["scene"][budget])
                    gain = float(own.mean() - np.mean(one.chosen[name][budget]))
                    left = float(own.mean() - np.mean(one.best[budget]))
                    figures[f"{key}/{name}/closed/seed_{seed}"] = gain / max(left, 1e-9)
    return figures


def table(config: BenchLearnedConfig, figures: Mapping[str, float]) -> str:
    """A Markdown table: loss at each budget, and the share of the gap that is closed."""
    first = f"{config.worlds[0]}/{config.budgets[0]}/"
    names = [
        k.removeprefix(first).removesuffix("/closed")
        for k in figures
        if k.startswith(first) and k.endswith("/closed")
    ]
    lines = [
        f"{len(config.seeds)} seeds, {config.videos} videos a world; loss of the answer (nats a token); share of the "
        "gap between scene and the best subset that is closed [95 % interval over videos]",
        "",
        "| world | frames by | " + " | ".join(f"loss @{k} | closed" for k in config.budgets) + " |",
        "|---|---|" + "---|---|" * len(config.budgets),
    ]
    for world in config.worlds:
        for name in names:
            cells = []
            for k in config.budgets:
                key = f"{world}/{k}/{name}"
                share = f"{figures[f'{key}/closed']:.2f} [{figures[f'{key}/closed/low']:.2f}, {figures[f'{key}/closed/high']:.2f}]"
                cells += [f"{figures[key]:.3f}", "" if name == "scene" else share]
            lines.append(f"| {world} | {name} | " + " | ".join(cells) + " |")
        cells = [f"{figures[f'{world}/{k}/best']:.3f} | 1" for k in config.budgets]
        lines.append(f"| {world} | best subset | " + " | ".join(cells) + " |")
    return "\n".join(lines)
