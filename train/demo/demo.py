"""The whole pipeline on synthetic videos: render, choose frames, train, describe, score."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from data.config import load
from data.errors import UserError, this_python
from data.offline.prepare import prepare
from data.prepared.dataset import Prepared
from data.prepared.summary import report
from data.storage import write_atomically
from data.target import timeline
from train import sft
from train.config import TrainConfig
from train.console import say
from train.demo.config import DemoConfig
from train.demo.prewarm import build_prewarmed
from train.demo.world import world_keys
from train.evaluation.config import EvaluateConfig
from train.evaluation.evaluate import evaluate
from train.evaluation.records import parse_prediction
from train.evaluation.results import Evaluation
from train.evaluation.scoring import score
from train.run.files import STATE
from train.run.folder import move_aside

ONE_TO_ONE = "f1_one_to_one_tiou>=0.5"
SETTINGS = "demo.json"
"""In the start's folder: the settings of its demo, written when the start is complete."""


def run_demo(config: DemoConfig) -> dict[str, Any]:
    """Run the whole pipeline, print its progress, and return the scores. A demo that was stopped goes on
    where it was; one with other settings is moved aside."""
    started = time.monotonic()
    out, pages = Path(config.out), Path(f"{config.out}-evaluation")
    world = Path(config.prepared) / "microworld"
    prepared = f"{world}-demo"

    say(
        f"1/4  render {config.videos:,} videos and choose {config.frames} frames of each"
        f" (two minutes on two idle cores)"
    )
    say(report(_prepare(config, world, prepared)))

    say("\n2/4  build the tiny model and teach its vision tower single pictures (half a minute)")
    start = out / "start"
    settings = config.model_dump(exclude={"json_"})
    if _settings_of(start) != settings:
        for folder in (out, pages):
            if folder.exists():
                move_aside(folder)
        shape_accuracy = build_prewarmed(start, steps=config.prewarm_steps, seed=config.seed)
        write_atomically(start / SETTINGS, json.dumps(settings))  # last: the start is complete
        say(f"it recognises {shape_accuracy:.0%} of the shapes in single pictures")
    else:
        say(f"done before: {start}")

    say("\n3/4  train it to describe (three minutes; stopped, the same command goes on)")
    training = load(
        TrainConfig,
        [
            "recipe=demo",
            f"model.name={start}",
            f"data.path={prepared}",
            f"train.steps={config.steps}",
            f"train.output={out}",
            f"train.seed={config.seed}",
            f"train.resume={(out / STATE).exists()}",
        ],
    )
    losses = sft.main(training)

    say("\n4/4  describe held-out videos, before and after (half a minute)")
    evaluation = load(
        EvaluateConfig,
        [
            f"data.path={prepared}",
            f"adapter={out}",
            "base=true",
            "generate.max_new_tokens=160",
            "generate.batch=16",
            f"out={pages}",
        ],
    )
    done = evaluate(evaluation, shown=False)
    results = _results(done, losses) | {"seconds": round(time.monotonic() - started, 1)}
    say(_summary(results, done, out, prepared, f"{world}-videos"))
    write_atomically(out / "scores.json", json.dumps(results, indent=1) + "\n")
    if config.json_:
        write_atomically(Path(config.json_), json.dumps(results, indent=1) + "\n")
    return results


def _prepare(config: DemoConfig, world: Path, out: str) -> dict[str, Any]:
    keys = world_keys(
        f"{world}-videos",
        out,
        limit=config.videos,
        frames=config.frames,
        policy=config.policy,
        seed=config.seed,
    )
    try:
        return prepare(keys)
    except UserError:  # prepared before by a demo with other settings
        return prepare(keys.model_copy(update={"overwrite": True}))


def _settings_of(start: Path) -> dict[str, Any] | None:
    """The settings of the demo that made a start, if it was completed."""
    try:
        settings: dict[str, Any] = json.loads((start / SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return settings


def _results(done: Evaluation, losses: dict[str, float]) -> dict[str, Any]:
    before, after = done.scored
    perfect = {
        name: parse_prediction(timeline(truth.events)) for name, truth in done.references.items()
    }
    return {
        "scene_f1_before": before["scene_f1"].value,
        "scene_f1_after": after["scene_f1"].value,
        "tiou_f1_before": before[ONE_TO_ONE].value,
        "tiou_f1_after": after[ONE_TO_ONE].value,
        "tiou_f1_ceiling": score(done.references, perfect)[ONE_TO_ONE].value,
        "soda_c_before": before["soda_c"].value,
        "soda_c_after": after["soda_c"].value,
        "answer_loss_before": losses["eval_loss_before"],
        "answer_loss_after": losses["eval_loss_after"],
        "held_out_videos": len(done.references),
    }


def _summary(
    results: dict[str, Any], done: Evaluation, out: Path, prepared: str, videos: str
) -> str:
    held = {
        row["id"]: row["times_s"]
        for row in Prepared.open(prepared).rows().select_columns(["id", "times_s"])
    }
    before, after = (system.answers for system in done.systems)
    lines = []
    for name, truth in list(done.references.items())[:3]:
        said_before = " ".join(before[name].text.replace("\ufffd", "").split())  # half characters
        lines += [
            f"\n--- {videos}/{name}.mp4 (frames at {', '.join(f'{t:.1f}' for t in held[name])} s)",
            "what happens:",
            *(f"    {line}" for line in timeline(truth.events).splitlines()),
            f"before: {said_before[:100]}{'…' if len(said_before) > 100 else ''}",
            "after:",
            *(f"    {line}" for line in after[name].text.splitlines()),
        ]
    first = next(iter(done.references))
    lines += [
        f"\n{results['held_out_videos']} held-out videos            before    after",
        f"completion loss                {results['answer_loss_before']:7.3f}  {results['answer_loss_after']:7.3f}",
        f"scene F1 (colour+shape+ground) {results['scene_f1_before']:7.3f}  {results['scene_f1_after']:7.3f}",
        f"tIoU-F1 at .5                  {results['tiou_f1_before']:7.3f}  {results['tiou_f1_after']:7.3f}"
        f"   (perfect answers at whole seconds: {results['tiou_f1_ceiling']:.3f})",
        f"\nvideos in {videos}, chosen frames in {prepared}, model and curves in {out}",
        f"every held-out video, before and after, to look at: {out}-evaluation/report.html",
        f"describe one yourself: {this_python()} scripts/describe.py {videos}/{first}.mp4 adapter={out}",
        f"took {results['seconds'] / 60:.1f} minutes",
    ]
    return "\n".join(lines)
