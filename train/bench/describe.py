"""How fast are many videos described, against transformers' own pipeline, one video at a time; and does memory stay
flat? The model has a published model's shapes and random weights, so every answer is of the same length."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from PIL import Image
from transformers import SmolVLMProcessor, pipeline

from data.config import ROOT
from data.selection.config import FrameKeys
from train.batches.frames import frame_size_px
from train.bench.config import BenchDescribeConfig
from train.bench.random_checkpoint import build
from train.console import say
from train.inference.answering import describe_windows
from train.inference.generate import load_run
from train.inference.request import messages_of
from train.memory.config import MODELS
from train.model import tiny
from train.run.policy import RunPolicy
from train.run.portable import make_portable
from train.run.saved import SavedRun, untrained
from train.sections import DataKeys, ModelKeys

CLIP_S = 2.0


def compare_speed(config: BenchDescribeConfig, work: Path) -> dict[str, float]:
    """Videos a minute and tokens a second, ours and one video at a time; whether the texts are the same."""
    figures: dict[str, float] = {}
    for name in config.models:
        folder = work / name
        if name == "tiny":
            tiny.build(folder)
        else:
            build(MODELS[name], folder)
        make_portable(folder)
        policy = RunPolicy(FrameKeys(), DataKeys())
        run = untrained(ModelKeys(name=str(folder)), policy)
        model, processor = load_run(run, config.dtype)
        rows = _rows(config.videos, config.frames, processor)
        ours = _ours(config, run, model, processor)
        peer = _one_by_one(config, run, model, processor)
        ours(rows[:2]), peer(rows[:1])  # warm up
        times: dict[str, list[float]] = {"ours": [], "pipeline": []}
        for _ in range(config.repeats):  # in turn: other work on the machine meets both
            texts = {}
            for way, say_all in (("ours", ours), ("pipeline", peer)):
                started = time.monotonic()
                texts[way] = say_all(rows)
                times[way].append(time.monotonic() - started)
        same = sum(a == b for a, b in zip(texts["ours"], texts["pipeline"], strict=True))
        figures[f"{name}/same_texts"] = same / len(rows)
        for way, every in times.items():
            seconds = float(np.median(every))
            figures[f"{name}/{way}/videos_a_minute"] = 60 * len(rows) / seconds
            figures[f"{name}/{way}/tokens_a_second"] = len(rows) * config.new_tokens / seconds
        ratio = (
            figures[f"{name}/ours/videos_a_minute"] / figures[f"{name}/pipeline/videos_a_minute"]
        )
        figures[f"{name}/ratio"] = ratio
        say(
            f"{name}: {figures[f'{name}/ours/videos_a_minute']:.1f} videos a minute, "
            f"{figures[f'{name}/pipeline/videos_a_minute']:.1f} one at a time ({ratio:.2f} ×); "
            f"{same} of {len(rows)} texts the same"
        )
        del model
    if torch.cuda.is_available():
        say(f"on {torch.cuda.get_device_name()}, torch {torch.__version__}")
    return figures


def _rows(count: int, frames: int, processor: SmolVLMProcessor) -> list[dict[str, Any]]:
    """Videos of smooth noise, each with as many frames or up to half as many."""
    draw = np.random.default_rng(0)
    side = frame_size_px(processor)
    rows = []
    for number in range(count):
        kept = frames - number % (frames // 2 + 1)
        jpegs = []
        for _ in range(kept):
            coarse = draw.integers(0, 255, (9, 16, 3), dtype=np.uint8)
            buffer = io.BytesIO()
            Image.fromarray(coarse).resize((side * 16 // 9, side)).save(buffer, "JPEG", quality=92)
            jpegs.append(buffer.getvalue())
        rows.append(
            {
                "id": f"video-{number}",
                "frames": [{"bytes": jpeg} for jpeg in jpegs],
                "times_s": [2.0 * i for i in range(kept)],
                "duration_s": 2.0 * kept,
                "start_s": 0.0,
                "end_s": 2.0 * kept,
                "ranks": list(range(kept)),
                "prompt": "",
                "system": "",
                "context": "",
            }
        )
    return rows


Describe = Callable[[list[dict[str, Any]]], list[str]]


def _ours(
    config: BenchDescribeConfig, run: SavedRun, model: Any, processor: SmolVLMProcessor
) -> Describe:
    def describe(rows: list[dict[str, Any]]) -> list[str]:
        said = describe_windows(
            (model, processor), run, rows, max_new_tokens=config.new_tokens, batch=config.batch
        )
        return [one.said.text for one in said]

    return describe


def _one_by_one(
    config: BenchDescribeConfig, run: SavedRun, model: Any, processor: SmolVLMProcessor
) -> Describe:
    """transformers' pipeline; its prompt is the text that a server would get, with frames as images."""
    pipe: Any = pipeline("image-text-to-text", model=model, processor=processor)

    def describe(rows: list[dict[str, Any]]) -> list[str]:
        texts = []
        for row in rows:
            frames = iter(row["frames"])
            messages = messages_of(row, processor, run.data)
            for message in messages:
                message["content"] = [
                    {"type": "image", "image": Image.open(io.BytesIO(next(frames)["bytes"]))}
                    if part["type"] == "image_url"
                    else part
                    for part in message["content"]
                ]
            (said,) = pipe(
                text=messages,
                max_new_tokens=config.new_tokens,
                generate_kwargs={"do_sample": False},
                return_full_text=False,
            )
            texts.append(said["generated_text"].strip())
        return texts

    return describe


def measure_memory(counts: tuple[int, ...], work: Path) -> dict[str, float]:
    """Peak memory of `describe … out=` on so many short clips, with the tiny model."""
    model = tiny.build(work / "model")
    figures = {}
    for count in counts:
        folder = work / f"clips-{count}"
        folder.mkdir()
        _clip(folder / "0.mp4")
        for number in range(1, count):
            os.link(folder / "0.mp4", folder / f"{number}.mp4")
        keys = [
            f"model.name={model}",
            f"out={work / f'out-{count}'}",
            "max_new_tokens=1",
            "frames.max=2",
        ]
        argv = [sys.executable, "scripts/describe.py", str(folder), *keys, "batch=16"]
        peak_mib, seconds = _peak_mib(argv)
        figures[f"memory/{count}/peak_mib"] = peak_mib
        figures[f"memory/{count}/seconds"] = seconds
        say(f"{count} videos: at most {peak_mib:.0f} MiB, {seconds:.0f} s")
    return figures


def _peak_mib(argv: list[str]) -> tuple[float, float]:
    """Most memory that a command held, without its decoding processes, and its time."""
    started = time.monotonic()
    # a process of its own, for the system keeps the peak of the largest child ever
    code = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=2, stderr=subprocess.DEVNULL); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *argv], cwd=ROOT, capture_output=True, text=True, check=True
    )
    kib = int(done.stdout.split()[-1])
    return kib / 1024, time.monotonic() - started


def _clip(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for number in range(int(CLIP_S * 10)):
            picture = np.full((96, 128, 3), 10 * number, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
