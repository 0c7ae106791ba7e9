"""Time of commands that compute on a CPU, on an idle and on a busy machine, with our setting for waiting
threads and with libgomp's own, which spins."""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from data.config import ROOT
from train.bench.config import BenchBusyConfig
from train.console import say

SPINNING = {"GOMP_SPINCOUNT": "300000"}
"""libgomp's default where no variable sets it."""
BUSY = "while True: pass"


def measure(config: BenchBusyConfig) -> dict[str, float]:
    """Median seconds of each command, as `COMMAND/idle|busy/ours|spinning`."""
    figures: dict[str, float] = {}
    with TemporaryDirectory() as folder:
        commands = _commands(Path(folder), config.steps)
        say(
            "| command | idle, s | idle, spinning, s | busy, s | busy, spinning, s |\n|---|---|---|---|---|"
        )
        for name, argv in commands.items():
            for load in ("idle", "busy"):
                with _busy_processes(os.cpu_count() or 1 if load == "busy" else 0):
                    taken: dict[str, list[float]] = {"ours": [], "spinning": []}
                    for _ in range(config.repeats):  # alternating, because a machine's speed drifts
                        taken["ours"].append(_seconds(argv, {}))
                        taken["spinning"].append(_seconds(argv, SPINNING))
                for how, seconds in taken.items():
                    figures[f"{name}/{load}/{how}"] = statistics.median(seconds)
            shown = [figures[f"{name}/{x}/{how}"] for x in ("idle", "busy") for how in taken]
            say(f"| {name} | {' | '.join(f'{s:.1f}' for s in shown)} |")
    return {name: round(value, 2) for name, value in figures.items()}


def _commands(folder: Path, steps: int) -> dict[str, list[str]]:
    """Commands with the tiny model on the micro-world, by name; each can be run repeatedly."""
    from train.model import tiny

    base, encoder = tiny.build(folder / "base"), _encoder(folder / "encoder")
    videos, prepared, run = folder / "videos", folder / "prepared", folder / "run"
    world = [
        "source=microworld",
        "source.limit=24",
        f"source.path={videos}",
        "frames.max=6",
        "frames.px=96",
    ]
    train = [
        "train/sft.py",
        "recipe=demo",
        f"model.name={base}",
        f"data.path={prepared}",
        "data.workers=0",
        "train.eval_every=1000",
        "eval.generate_every=null",
    ]
    for argv in (
        ["scripts/prepare.py", *world, f"out={prepared}"],
        [*train, f"train.output={run}", "train.steps=2"],
    ):
        _seconds(argv, {})
    return {
        "train/sft.py": [*train, f"train.steps={steps}", f"train.output={folder}/again"],
        "describe.py": [
            "scripts/describe.py",
            *map(str, sorted(videos.glob("*.mp4"))[:8]),
            f"adapter={run}",
            "max_new_tokens=64",
        ],
        "evaluate.py": [
            "scripts/evaluate.py",
            f"data.path={prepared}",
            f"adapter={run}",
            "data.part=all",
            "data.limit=16",
            "generate.max_new_tokens=64",
            f"out={folder}/evaluation",
            "overwrite=true",
            "report=false",
        ],
        "prepare.py with an encoder": [
            "scripts/prepare.py",
            *world,
            "frames.policy=embedding",
            f"frames.encoder={encoder}",
            f"out={folder}/embedded",
            "overwrite=true",
            "workers=1",
        ],
    }


def _encoder(folder: Path) -> Path:
    """A small image encoder with random weights."""
    from transformers import BitImageProcessor, Dinov2Config, Dinov2Model

    Dinov2Model(
        Dinov2Config(hidden_size=192, num_hidden_layers=6, num_attention_heads=3, image_size=224)
    ).save_pretrained(folder)
    BitImageProcessor(size={"height": 224, "width": 224}, do_center_crop=False).save_pretrained(
        folder
    )
    return folder


def _seconds(argv: list[str], more: dict[str, str]) -> float:
    kept = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    started = time.monotonic()
    subprocess.run(
        [sys.executable, *argv], env=kept | more, cwd=ROOT, check=True, capture_output=True
    )
    return time.monotonic() - started


@contextlib.contextmanager
def _busy_processes(count: int) -> Iterator[None]:
    """Keep this number of processes running, each of which occupies a core."""
    others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for one in others:
            one.kill()
            one.wait()
