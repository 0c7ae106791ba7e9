"""Speed of scoring, and size and opening time of a report, on synthetic predictions and pictures."""

from __future__ import annotations

import io
import json
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from data.sample import Event
from data.target import timeline
from train.evaluation.records import (
    Reference,
    parse_prediction,
    write_predictions,
    write_references,
)
from train.evaluation.scoring import score

WORDS = [
    "a",
    "man",
    "walks",
    "into",
    "the",
    "kitchen",
    "and",
    "opens",
    "fridge",
    "while",
    "woman",
    "washes",
    "red",
    "tomatoes",
    "in",
    "sink",
    "two",
    "dogs",
    "run",
    "across",
    "green",
    "grass",
    "after",
    "yellow",
    "ball",
    "bus",
    "stops",
    "at",
    "crowded",
    "station",
    "people",
    "step",
    "off",
    "with",
    "large",
    "bags",
]
FRAMES = 16
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def _story(rng: random.Random) -> tuple[Event, ...]:
    """2 to 8 events of 6 to 18 words, one after the other."""
    start, events = 0.0, []
    for _ in range(rng.randint(2, 8)):
        end = start + rng.uniform(2, 20)
        events.append(Event(start, end, " ".join(rng.choices(WORDS, k=rng.randint(6, 18))) + "."))
        start = end
    return tuple(events)


def _pairs(count: int) -> tuple[dict[str, Reference], dict[str, Any]]:
    rng = random.Random(0)
    references, answers = {}, {}
    for i in range(count):
        events = _story(rng)
        references[f"video-{i:05d}"] = Reference(events, events[-1].end_s)
        answers[f"video-{i:05d}"] = parse_prediction(timeline(_story(rng)))
    return references, answers


def score_once(count: int) -> None:
    """Score `count` predictions and print time and peak memory; runs in a process of its own."""
    references, answers = _pairs(count)
    started = time.monotonic()
    score(references, answers)
    print(
        json.dumps(
            {
                "seconds": time.monotonic() - started,
                "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                "worker_mib": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
            }
        )
    )


def measure_scoring(counts: tuple[int, ...]) -> dict[str, float]:
    """Seconds and peak memory (MiB) of all core metrics, for each number of predictions."""
    figures = {}
    for count in counts:
        code = f"import sys; sys.path[0] = {str(Path(__file__).parents[2])!r}\nfrom train.bench.evaluate import score_once\nif __name__ == '__main__': score_once({count})"
        with tempfile.TemporaryDirectory() as folder:  # a file, because spawned workers import it
            script = Path(folder) / "score.py"
            script.write_text(code, encoding="utf-8")
            done = subprocess.run(
                [sys.executable, str(script)], capture_output=True, text=True, check=True
            )
        for name, value in json.loads(done.stdout.splitlines()[-1]).items():
            figures[f"score_{count}/{name}"] = round(value, 2)
        print(
            f"{count:,} predictions: {figures[f'score_{count}/seconds']:.1f} s, {figures[f'score_{count}/mib']:.0f} MiB, a worker {figures[f'score_{count}/worker_mib']:.0f}",
            flush=True,
        )
    return figures


def make_report(folder: Path, count: int) -> Path:
    """Write a report of `count` videos with 16 frames each, and return its path."""
    from data.config import load  # heavy imports, kept out of the memory measurement
    from data.prepared.shards import FORMAT_VERSION, write_shard
    from data.storage import open_folder
    from train.evaluation.config import EvaluateConfig
    from train.evaluation.evaluate import evaluate

    references, answers = _pairs(count)
    rng = np.random.default_rng(0)
    photos = []
    for _ in range(64):  # blurred noise: as hard to compress as video frames are
        noise = rng.integers(0, 255, (18, 32, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(noise).resize((640, 360), Image.Resampling.BICUBIC).save(buffer, "JPEG")
        photos.append(buffer.getvalue())
    prepared = open_folder(folder / "prepared")
    prepared.make()
    rows = (
        {
            "id": name,
            "source": "made",
            "video_id": name,
            "events": [],
            "description": "x",
            "prompt": "",
            "system": "",
            "context": "",
            "frames": [
                {"bytes": photos[(i + k) % len(photos)], "path": None} for k in range(FRAMES)
            ],
            "times_s": [truth.duration_s * (k + 0.5) / FRAMES for k in range(FRAMES)],
            "duration_s": truth.duration_s,
            "turns": [],
            "reasons": ["made"] * FRAMES,
            "ranks": list(range(FRAMES)),
            "decoded_share": 1.0,
            "unseen_s": 0.0,
            "credit": "",
            "metadata": "{}",
            "repairs": [],
            "policy": "{}",
        }
        for i, (name, truth) in enumerate(references.items())
    )
    write_shard(prepared, 0, rows)
    manifest = {"finished": True, "format_version": FORMAT_VERSION, "shards": 1, "rows": count}
    prepared.write("manifest.json", json.dumps(manifest))
    write_references(folder / "references.json", references)
    write_predictions(folder / "predictions.json", answers, {})
    argv = ["predictions", "references", "data.path", "out"]
    places = ["predictions.json", "references.json", "prepared", "out"]
    evaluate(
        load(
            EvaluateConfig,
            [f"{key}={folder / place}" for key, place in zip(argv, places, strict=True)],
        ),
        shown=False,
    )
    return folder / "out" / "report.html"


def measure_report(folder: Path, count: int) -> dict[str, float]:
    """Size of a report, and seconds that a headless Chromium takes to open and paint it: the median of
    three, minus that of an empty page."""
    started = time.monotonic()
    page = make_report(folder, count)
    figures = {
        "report/seconds_to_make": round(time.monotonic() - started, 1),
        "report/mib": round(page.stat().st_size / 2**20, 1),
    }
    program = next((p for p in map(shutil.which, BROWSERS) if p), None)
    if program is not None:
        empty = folder / "empty.html"
        empty.write_text("<!doctype html><title>x</title>")
        opened, base = (
            np.median([_seconds_to_open(program, p, folder) for _ in range(3)])
            for p in (page, empty)
        )
        figures |= {
            "report/opens_s": round(float(opened - base), 2),
            "report/browser_start_s": round(float(base), 2),
        }
    print(f"a report of {count:,} videos with {FRAMES} frames: {figures}", flush=True)
    return figures


def _seconds_to_open(program: str, page: Path, folder: Path) -> float:
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={folder / 'profile'}",
        f"--screenshot={folder / 'page.png'}",
    ]
    started = time.monotonic()
    subprocess.run(
        [program, *flags, page.resolve().as_uri()],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return time.monotonic() - started
