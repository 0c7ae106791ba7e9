"""The whole way on synthetic videos: render, choose frames, train, describe, score."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from transformers import SmolVLMForConditionalGeneration

from data.config import UserError, load, this_python
from data.keys import FrameKeys, PrepareConfig, SourceKeys
from data.prepare import prepare
from data.report import report
from data.sample import events_of
from data.shards import read_dataset
from data.storage import write_atomically
from data.target import parse_timeline, timeline
from train import sft, tiny
from train.config import DemoConfig, TrainConfig
from train.dataset import split
from train.describe import generate, load_run, prompt_of
from train.metrics.grounding import tiou_f1
from train.metrics.scenes import scene_f1
from train.model import load_processor
from train.prewarm import prewarm
from train.run import say, set_aside
from train.save import SavedRun, read_run


@dataclass(frozen=True)
class Scores:
    """How well held-out videos are described."""

    scene_f1: float
    tiou_f1: float
    texts: tuple[str, ...]


def run_demo(config: DemoConfig) -> dict[str, Any]:
    """Everything, printed as it goes; returns the scores."""
    started = time.monotonic()
    out = Path(config.out)
    say(f"1/4  render {config.videos} videos and choose {config.frames} frames of each")
    world = Path(config.prepared) / "microworld"
    keys = PrepareConfig(
        source=SourceKeys(
            name="microworld", path=f"{world}-videos", limit=config.videos, seed=config.seed
        ),
        frames=FrameKeys.model_validate({"policy": config.policy, "max": config.frames, "px": 96}),
        out=f"{world}-demo",
    )
    try:
        summary = prepare(keys)
    except UserError:  # there from a demo with other settings
        summary = prepare(keys.model_copy(update={"overwrite": True}))
    say(report(summary))

    say("\n2/4  build the tiny model and warm up its eyes")
    if out.exists():
        set_aside(out)
    base = tiny.build(out / "start", seed=config.seed)
    training = load(
        TrainConfig,
        [
            "recipe=demo",
            f"model.name={base}",
            f"data.path={keys.out}",
            f"train.steps={config.steps}",
            f"train.output={out}",
            f"train.seed={config.seed}",
        ],
    )
    processor = load_processor(training.model)
    model = SmolVLMForConditionalGeneration.from_pretrained(base)
    shape_accuracy = prewarm(model, processor, steps=config.prewarm_steps, seed=config.seed)
    model.save_pretrained(base)
    say(f"it tells {shape_accuracy:.0%} of shapes apart in single pictures")

    say("\n3/4  train")
    losses = sft.main(training)

    say("\n4/4  describe held-out videos, before and after")
    _, held = split(read_dataset(keys.out), training.data.eval_share, training.data.eval_max)
    assert held is not None
    after_run = read_run(out)
    before_run = SavedRun(base, training.model, False, after_run.frames, after_run.data)
    before, after = (score(run, held) for run in (before_run, after_run))
    ceiling = _mean_tiou([timeline(events_of(row)) for row in held], held)
    results = {
        "scene_f1_before": before.scene_f1,
        "scene_f1_after": after.scene_f1,
        "tiou_f1_before": before.tiou_f1,
        "tiou_f1_after": after.tiou_f1,
        "tiou_f1_ceiling": ceiling,
        "answer_loss_before": losses["eval_loss_before"],
        "answer_loss_after": losses["eval_loss_after"],
        "held_out_videos": len(held),
        "seconds": round(time.monotonic() - started, 1),
    }
    say(_summary(results, held, before, after, out, keys.out, f"{world}-videos"))
    write_atomically(out / "scores.json", json.dumps(results, indent=1) + "\n")
    if config.json_:
        write_atomically(Path(config.json_), json.dumps(results, indent=1) + "\n")
    return results


def score(run: SavedRun, held: Dataset) -> Scores:
    """Describe every held-out video and compare with the exact labels."""
    model, processor = load_run(run)
    prompts = [prompt_of(row, processor, run.data) for row in held]
    texts = tuple(generate(model, processor, prompts, max_new_tokens=160, batch=16))
    counts = np.zeros(3, dtype=int)  # matched, predicted, reference
    for text, row in zip(texts, held, strict=True):
        counts += scene_f1(parse_timeline(text)[0], events_of(row))
    return Scores(
        scene_f1=float(2 * counts[0] / max(1, counts[1] + counts[2])),
        tiou_f1=_mean_tiou(texts, held),
        texts=texts,
    )


def _mean_tiou(texts: Sequence[str], held: Dataset) -> float:
    pairs = zip(texts, held, strict=True)
    return float(np.mean([tiou_f1(parse_timeline(text)[0], events_of(row)) for text, row in pairs]))


def _summary(
    results: dict[str, Any],
    held: Dataset,
    before: Scores,
    after: Scores,
    out: Path,
    prepared: str,
    videos: str,
) -> str:
    lines = []
    for i in range(min(3, len(held))):
        row = held[i]
        said_before = " ".join(before.texts[i].replace("\ufffd", "").split())  # half characters
        lines += [
            f"\n--- {videos}/{row['id']}.mp4 (frames at {', '.join(f'{t:.1f}' for t in row['times_s'])} s)",
            "what happens:",
            *(f"    {line}" for line in timeline(events_of(row)).splitlines()),
            f"before: {said_before[:100]}{'…' if len(said_before) > 100 else ''}",
            "after:",
            *(f"    {line}" for line in after.texts[i].splitlines()),
        ]
    lines += [
        f"\n{results['held_out_videos']} held-out videos            before    after",
        f"answer loss                    {results['answer_loss_before']:7.3f}  {results['answer_loss_after']:7.3f}",
        f"scene F1 (colour+shape+ground) {results['scene_f1_before']:7.3f}  {results['scene_f1_after']:7.3f}",
        f"tIoU-F1 at .5                  {results['tiou_f1_before']:7.3f}  {results['tiou_f1_after']:7.3f}"
        f"   (perfect answers at whole seconds: {results['tiou_f1_ceiling']:.3f})",
        f"\nvideos in {videos}, chosen frames in {prepared}, model and curves in {out}",
        f"describe one yourself: {this_python()} scripts/describe.py {videos}/{held[0]['id']}.mp4 adapter={out}",
        f"took {results['seconds'] / 60:.1f} minutes",
    ]
    return "\n".join(lines)
