"""Measures the offline run: its overhead over the selection alone, its peak memory, the time to resume."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from data.bench.selection_speed import film
from data.config import ROOT
from data.selection.choose import choose_frames
from data.selection.config import FrameKeys
from data.sources import microworld

FINEVIDEO_HOURS = 3425
KEYS = FrameKeys(max=32)
FILM_S = 282  # average duration of FineVideo's videos


def _rows(path: Path, video: Path, count: int) -> Path:
    """Write a JSONL source with `count` rows of one video, each with its own id."""
    with path.open("w", encoding="utf-8") as file:
        for i in range(count):
            row = {"id": f"row {i}", "video": str(video.resolve()), "description": "x"}
            file.write(json.dumps(row) + "\n")
    return path


def _command(rows: Path, out: Path, *arguments: str) -> list[str]:
    script = str(ROOT / "scripts" / "prepare.py")
    source = ("source=jsonl", f"source.path={rows}", f"out={out}")
    return [sys.executable, script, *source, *arguments]


def run_watched(command: list[str]) -> tuple[float, dict[str, float]]:
    """Wall time of a command in seconds, and its peak memory (RSS) in MiB: of its main process and of its
    largest worker."""
    started = time.perf_counter()
    process = psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    main = worker = 0
    while process.poll() is None:
        try:
            main = max(main, process.memory_info().rss)
            worker = max([worker, *(c.memory_info().rss for c in process.children())])
        except psutil.Error:
            pass
        time.sleep(0.1)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with exit code {process.returncode}")
    return time.perf_counter() - started, {"run": main / 2**20, "worker": worker / 2**20}


def measure_speed(work: Path, num_rows: int) -> dict[str, float]:
    """Throughput (videos, and seconds of video, per second) with one and two workers, and the overhead: time
    of the command with one worker ÷ time of the selection alone in this process, on the same videos, - 1."""
    video = film(work, "360p", FILM_S)
    rows = _rows(work / "speed.jsonl", video, num_rows)
    figures: dict[str, float] = {}
    choose_frames(str(video), KEYS, threads=1)  # warm-up: loads the libraries
    bare: list[float] = []
    runs: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(3):  # in turns, so that other load on the machine affects all alike
        started = time.perf_counter()
        for _ in range(num_rows):
            choose_frames(str(video), KEYS, threads=1)
        bare.append(time.perf_counter() - started)
        for workers, seconds in runs.items():
            out = work / "speed"
            shutil.rmtree(out, ignore_errors=True)
            seconds.append(
                run_watched(_command(rows, out, f"workers={workers}", f"frames.max={KEYS.max}"))[0]
            )
    for workers, seconds in runs.items():
        rate = num_rows * FILM_S / min(seconds)
        figures[f"videos_per_s.workers{workers}"] = num_rows / min(seconds)
        figures[f"video_s_per_s.workers{workers}"] = rate
        print(
            f"{workers} worker{'s' * (workers > 1)}: {num_rows} videos of {FILM_S} s at 360p in "
            f"{min(seconds):.1f} s, {num_rows / min(seconds):.2f} videos/s, {rate:.0f} × real time"
        )
    figures["overhead"] = min(runs[1]) / min(bare) - 1
    print(f"overhead of the command over the selection alone: {figures['overhead']:.1%}")
    days = FINEVIDEO_HOURS * 3600 / figures["video_s_per_s.workers2"] / 86400
    figures["finevideo_days.cores2"] = days
    for cores in (2, 8, 32, 256):
        print(
            f"all of FineVideo on {cores} cores: {24 * days * 2 / cores:.1f} hours (extrapolated)"
        )
    return figures


def _tiny(work: Path) -> Path:
    """The shortest micro-world video, so that a run over many rows measures the cost per row."""
    folder = work / "tiny"
    folder.mkdir(parents=True, exist_ok=True)
    lengths = {i: sum(s.num_frames for s in microworld.story(0, i)) for i in range(40)}
    return microworld.render(0, min(lengths, key=lengths.__getitem__), folder)


def measure_memory(work: Path, sizes: tuple[int, ...]) -> dict[str, float]:
    """Peak memory of runs over different numbers of rows: it must not grow with them."""
    video, figures = _tiny(work), {}
    for size in sizes:
        out = work / "memory"
        shutil.rmtree(out, ignore_errors=True)
        rows = _rows(work / "memory.jsonl", video, size)
        seconds, peak = run_watched(
            _command(rows, out, "workers=2", "frames.max=4", "frames.policy=uniform")
        )
        for name, mib in peak.items():
            figures[f"peak_mib.{name}.rows{size}"] = mib
        figures[f"rows_per_s.rows{size}"] = size / seconds
        print(
            f"{size:,} rows: peak memory {peak['run']:.0f} MiB in the main process, "
            f"{peak['worker']:.0f} MiB in a worker; {size / seconds:.0f} rows/s"
        )
    return figures


def measure_resume(work: Path, num_rows: int) -> dict[str, float]:
    """Time of the same command again: on a complete run, and on one whose last shard is missing."""
    video, out = _tiny(work), work / "resume"
    rows = _rows(work / "resume.jsonl", video, num_rows)
    command = _command(
        rows, out, "workers=2", "frames.max=2", "frames.px=32", "frames.policy=uniform"
    )
    run_watched(command)
    complete, _ = run_watched(command)
    last = max(out.glob("shard-*.parquet"))
    last.unlink()
    interrupted, _ = run_watched(command)
    print(
        f"{num_rows:,} rows: the same command again takes {complete:.1f} s on the complete run, "
        f"{interrupted:.1f} s if the last shard is missing"
    )
    figures: dict[str, Any] = {
        f"resume_s.rows{num_rows}": complete,
        f"resume_last_shard_s.rows{num_rows}": interrupted,
    }
    return figures
