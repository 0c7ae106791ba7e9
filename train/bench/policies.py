"""Does choosing frames by scene make descriptions better? Measured on the micro-world, whose references
are exact: one tiny model is trained per policy and seed, all else equal, and evaluated with every policy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from data.offline.prepare import prepare
from data.prepared.dataset import Prepared
from data.sample import events_of
from data.target import timeline
from train.batches.split import split
from train.bench.config_trained import PoliciesConfig
from train.bench.seeds import (
    in_pool,
    note_lead,
    noted,
    one_core_each,
    tiny_run,
    told_by,
    warmed_base,
    with_interval,
)
from train.console import say
from train.demo.world import world_keys
from train.evaluation.by_sample import references_of
from train.evaluation.records import Prediction, parse_prediction
from train.evaluation.scoring import score

CAPTIONS = {"scene_f1": "scene F1", "soda_c": "SODA c", "f1_one_to_one_tiou>=0.5": "tIoU F1"}
MEASURES = tuple(CAPTIONS)
EVAL_SHARE = 0.05


def compare_policies(config: PoliciesConfig) -> dict[str, float]:
    """Prepare, train, describe and score; returns flat figures. Results of an earlier call are reused."""
    work = Path(config.work)
    for policy in config.policies:
        prepare(
            world_keys(
                work / "videos",
                work / policy,
                limit=config.videos,
                frames=config.frames,
                policy=policy,
                selector=config.selector if policy == "learned" else None,
                busy=config.busy,
            )
        )
    with one_core_each(config.workers) as pool:
        warm = [(config.work, seed, config.prewarm_steps) for seed in config.seeds]
        in_pool(pool, "warm up", warmed_base, warm)
        pairs = [(policy, seed) for seed in config.seeds for policy in config.policies]
        in_pool(pool, "train", _train, [(config, *pair) for pair in pairs])
        seen = [
            (config, p, s, q) for p, s in pairs for q in config.policies if config.mixed or p == q
        ]
        said = in_pool(pool, "describe", _describe, seen)
    texts = {(p, s, q): one for (_, p, s, q), one in zip(seen, said, strict=True)}
    figures = _figures(config, texts)
    say(table(config, figures))
    (work / "scores.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return figures


def _run_folder(config: PoliciesConfig, policy: str, seed: int) -> Path:
    return Path(config.work) / f"run-{policy}-{seed}"


def _train(config: PoliciesConfig, policy: str, seed: int) -> None:
    tiny_run(
        f"{config.work}/base-{seed}",
        f"{config.work}/{policy}",
        _run_folder(config, policy, seed),
        steps=config.steps,
        seed=seed,
        more=[
            "optim.name=adamw",  # as the figures of train/evaluation/README.md were measured
            f"data.eval_share={EVAL_SHARE}",
            f"data.eval_max={config.held_out}",
        ],
    )


def _held_out(config: PoliciesConfig, policy: str) -> Dataset:
    rows = Prepared.open(f"{config.work}/{policy}").rows()
    return rows.select(split(rows, EVAL_SHARE, config.held_out).held)


def _describe(config: PoliciesConfig, trained: str, seed: int, seen: str) -> dict[str, Prediction]:
    """Predictions of the model trained with policy `trained`, on the frames of policy `seen`."""
    folder = _run_folder(config, trained, seed)
    return told_by(folder, _held_out(config, seen), mark=f"-{seen}")


def _figures(
    config: PoliciesConfig, texts: dict[tuple[str, int, str], dict[str, Prediction]]
) -> dict[str, float]:
    """Flat figures. Seeds are summed per video before the bootstrap, so intervals are over videos."""
    held = _held_out(config, config.policies[0])
    references = references_of(held)
    figures: dict[str, float] = {"held_out_videos": len(references)}
    perfect = {name: parse_prediction(timeline(t.events)) for name, t in references.items()}
    best = score(references, perfect)
    for name in MEASURES:
        figures[f"whole_seconds/{name}"] = best[name].value
    for policy in config.policies:
        rows = _held_out(config, policy).remove_columns("frames")
        figures[f"{policy}/scenes_with_a_frame"] = float(
            np.mean([_share_of_scenes(row) for row in rows])
        )
    draws: dict[tuple[str, str], np.ndarray] = {}
    for trained, seen in sorted({(p, q) for p, _, q in texts}):
        every = [score(references, texts[trained, seed, seen]) for seed in config.seeds]
        draws[trained, seen] = noted(figures, f"{trained}/{seen}", every, config.seeds, MEASURES)
    first = config.policies[0]
    for policy in config.policies[1:]:
        both = draws[first, first], draws[policy, policy]
        of, over = f"{first}/{first}", f"{policy}/{policy}"
        note_lead(figures, f"{first}_minus_{policy}", of, over, both, MEASURES)
    return figures


def _share_of_scenes(row: dict[str, Any]) -> float:
    """Share of a video's scenes that have a chosen frame."""
    return float(
        np.mean([any(e.start_s <= t < e.end_s for t in row["times_s"]) for e in events_of(row)])
    )


def table(config: PoliciesConfig, figures: dict[str, float]) -> str:
    """A Markdown table: each model with its own policy's frames first, then with those of the others."""
    lines = [
        f"{figures['held_out_videos']:.0f} held-out videos, {len(config.seeds)} seeds, {config.steps} steps, "
        f"at most {config.frames} frames; mean [95 % interval over videos] (seeds from – to)",
        "",
        "| trained with | described with | scenes with a frame | "
        + " | ".join(CAPTIONS[m] for m in MEASURES)
        + " |",
        "|---|---|---|---|---|---|",
    ]
    pairs = [(p, p) for p in config.policies]
    if config.mixed:
        pairs += [(p, q) for p in config.policies for q in config.policies if p != q]
    for trained, seen in pairs:
        cells = []
        for name in MEASURES:
            key = f"{trained}/{seen}/{name}"
            seeds = [figures[f"{key}/seed_{seed}"] for seed in config.seeds]
            span = f" ({min(seeds):.3f} – {max(seeds):.3f})" if len(seeds) > 1 else ""
            cells.append(with_interval(figures, key) + span)
        share = figures[f"{seen}/scenes_with_a_frame"]
        lines.append(f"| {trained} | {seen} | {share:.3f} | " + " | ".join(cells) + " |")
    best = " | ".join(f"{figures[f'whole_seconds/{m}']:.3f}" for m in MEASURES)
    lines.append(f"| perfect answers at whole seconds | | | {best} |")
    return "\n".join(lines)
