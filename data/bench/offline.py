"""The offline run: what it costs beside the selection itself, what it holds, how fast it goes on."""

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
FILM_S = 282  # as long as FineVideo's are on average


def _rows(path: Path, video: Path, count: int) -> Path:
    """So many rows of one video, each under an id of its own."""
    with path.open("w", encoding="utf-8") as file:
        for i in range(count):
            row = {"id": f"row {i}", "video": str(video.resolve()), "description": "x"}
            file.write(json.dumps(row) + "\n")
    return path


def _command(rows: Path, out: Path, *arguments: str) -> list[str]:
    script = str(ROOT / "scripts" / "prepare.py")
    source = ("source=jsonl", f"source.path={rows}", f"out={out}")
    return [sys.executable, script, *source, *arguments]


def _run(command: list[str]) -> tuple[float, dict[str, float]]:
    """Seconds of a whole command, and the most memory it held, MiB: the run itself and the largest
    of its workers."""
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
    """Videos and seconds of video a second with one worker and two, and the overhead: whole command
    with one worker ÷ the selection alone, of the same videos in this process."""
    video = film(work, "360p", FILM_S)
    rows = _rows(work / "speed.jsonl", video, num_rows)
    figures: dict[str, float] = {}
    choose_frames(str(video), KEYS, threads=1)  # libraries are loaded
    bare: list[float] = []
    runs: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(3):  # in turns: what else the machine does hits all of them
        started = time.perf_counter()
        for _ in range(num_rows):
            choose_frames(str(video), KEYS, threads=1)
        bare.append(time.perf_counter() - started)
        for workers, seconds in runs.items():
            out = work / "speed"
            shutil.rmtree(out, ignore_errors=True)
            seconds.append(
                _run(_command(rows, out, f"workers={workers}", f"frames.max={KEYS.max}"))[0]
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
    print(f"overhead of the whole command over the selection alone: {figures['overhead']:.1%}")
    days = FINEVIDEO_HOURS * 3600 / figures["video_s_per_s.workers2"] / 86400
    figures["finevideo_days.cores2"] = days
    for cores in (2, 8, 32, 256):
        print(
            f"all of FineVideo on {cores} cores: {24 * days * 2 / cores:.1f} hours (extrapolated)"
        )
    return figures


def _tiny(work: Path) -> Path:
    """The shortest micro-world video: a run over many rows is then about the rows."""
    folder = work / "tiny"
    folder.mkdir(parents=True, exist_ok=True)
    lengths = {i: sum(s.num_frames for s in microworld.story(0, i)) for i in range(40)}
    return microworld.render(0, min(lengths, key=lengths.__getitem__), folder)


def measure_memory(work: Path, sizes: tuple[int, ...]) -> dict[str, float]:
    """Most memory of runs of different length: it must not grow with the number of rows."""
    video, figures = _tiny(work), {}
    for size in sizes:
        out = work / "memory"
        shutil.rmtree(out, ignore_errors=True)
        rows = _rows(work / "memory.jsonl", video, size)
        seconds, peak = _run(
            _command(rows, out, "workers=2", "frames.max=4", "frames.policy=uniform")
        )
        for name, mib in peak.items():
            figures[f"peak_mib.{name}.rows{size}"] = mib
        figures[f"rows_per_s.rows{size}"] = size / seconds
        print(
            f"{size:,} rows: at most {peak['run']:.0f} MiB in the run, {peak['worker']:.0f} MiB in a "
            f"worker; {size / seconds:.0f} rows/s"
        )
    return figures


def measure_resume(work: Path, num_rows: int) -> dict[str, float]:
    """Time of the same command over a run that was complete, and over one that lacks its last shard."""
    video, out = _tiny(work), work / "resume"
    rows = _rows(work / "resume.jsonl", video, num_rows)
    command = _command(
        rows, out, "workers=2", "frames.max=2", "frames.px=32", "frames.policy=uniform"
    )
    _run(command)
    complete, _ = _run(command)
    last = max(out.glob("shard-*.parquet"))
    last.unlink()
    interrupted, _ = _run(command)
    print(
        f"{num_rows:,} rows: the same command again takes {complete:.1f} s; without its last shard "
        f"{interrupted:.1f} s"
    )
    figures: dict[str, Any] = {
        f"resume_s.rows{num_rows}": complete,
        f"resume_last_shard_s.rows{num_rows}": interrupted,
    }
    return figures
