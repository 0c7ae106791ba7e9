"""Measures the speed of selection against decoding alone and against PySceneDetect, in one run."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np
from scenedetect import AdaptiveDetector, detect

from data.offline.isolate import run_each
from data.selection.choose import choose_frames
from data.selection.config import FrameKeys
from data.selection.policies.pixels import correlator
from data.storage import atomic
from data.video.h264 import write_h264

BUDGET = 16
SMALL_FRAMES = 64
SECONDS = 120
RATE = 30
SIZES = {"1080p": (1920, 1080), "360p": (640, 360)}


# --- videos to time ----------------------------------------------------------------------------


def _film(width: int, height: int, num_frames: int) -> Iterator[np.ndarray]:
    """Frames of shots of 2 to 8 s: a pan over a random texture, an object that crosses it, film grain."""
    rng = np.random.default_rng(7)
    grain = np.repeat(rng.normal(0, 2.5, (height + 99, width + 99, 1)), 3, axis=2).astype(np.int16)
    done = 0
    while done < num_frames:
        big = (int(width * 1.25), int(height * 1.25))
        land = np.zeros((big[1], big[0], 3), np.float32)
        for cells in (3, 9, 30, 90):
            coarse = rng.random((cells, 2 * cells, 3)).astype(np.float32)
            wide = cv2.resize(coarse, big, interpolation=cv2.INTER_CUBIC)
            land += np.asarray(wide, np.float32) / np.float32(cells**0.5)
        land = (255 * (land - land.min()) / np.ptp(land)).astype(np.uint8)
        length = min(int(rng.integers(2 * RATE, 8 * RATE)), num_frames - done)
        drift = rng.uniform(-0.1, 0.1, 2)
        for i in range(length):
            x = int(width * (0.125 + drift[0] * i / length))
            y = int(height * (0.125 + drift[1] * i / length))
            gx, gy = rng.integers(0, 99, 2)  # never the same grain twice
            noise = grain[gy : gy + height, gx : gx + width]
            view = cv2.add(land[y : y + height, x : x + width], noise, dtype=cv2.CV_8U)
            at = (int(width * (0.1 + 0.8 * i / length)), height // 2)
            cv2.circle(view, at, height // 8, (240, 230, 60), -1)
            yield view
        done += length


def film(folder: Path, name: str, seconds: int = SECONDS) -> Path:
    """The path of a synthetic H.264 film of the size `SIZES[name]`, written if it does not exist yet."""
    path = folder / f"film-{name}-{seconds}s.mp4"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    print(f"making {path} …", flush=True)
    width, height = SIZES[name]
    views = _film(width, height, seconds * RATE)
    write_h264(path, views, rate=RATE, threads=0)
    return path


def repeated_file(folder: Path, times: int) -> Path:
    """The path of the 360p film repeated `times` times. Packets are copied: hours of video in a second."""
    source = film(folder, "360p")
    path = folder / f"film-360p-x{times}.mkv"
    if path.exists():
        return path
    with atomic(path) as unfinished, av.open(str(unfinished), "w", format="matroska") as out:
        stream = None
        for i in range(times):
            with av.open(str(source)) as container:
                video = container.streams.video[0]
                stream = stream or out.add_stream_from_template(video)
                shift = round(i * SECONDS / float(video.time_base or 1))
                for packet in container.demux(video):
                    if packet.dts is None or packet.pts is None:
                        continue
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    packet.stream = stream
                    out.mux(packet)
    return path


# --- timing ------------------------------------------------------------------------------------


def _decode(path: str, threads: int) -> None:
    """Decode every frame with PyAV and drop it: the lower bound of a selection's time."""
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = threads
        for _ in container.decode(stream):
            pass


def _peer(path: str, threads: int) -> float:
    """Seconds of PySceneDetect alone, which keeps no frames. It runs in a process of its own, because OpenCV
    reads the number of decoder threads from the environment when it is loaded."""
    os.environ["OPENCV_FFMPEG_THREADS"] = str(threads)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_timed_peer, (path,))


def _timed_peer(path: str) -> float:
    started = time.perf_counter()
    detect(path, AdaptiveDetector())
    return time.perf_counter() - started


def _select(path: str, threads: int, speed: str = "exact", small_frames: int = 0) -> None:
    """Our selection, including the encoding of the JPEGs."""
    keys = FrameKeys.model_validate({"max": BUDGET, "speed": speed, "fast": small_frames})
    choose_frames(path, keys, threads=threads)


def _fastest(runs: dict[str, Callable[[], object]], repeat: int) -> dict[str, float]:
    """Name → seconds of the fastest run, in turns so that other load on the machine affects all alike."""
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(repeat):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - started)
    return best


def measure_speed(folder: Path, repeat: int, video: str | None) -> dict[str, float]:
    """Figures of the selection's speed: ratios to decoding and to PySceneDetect. Prints a table."""
    figures: dict[str, float] = {}
    files = {name: str(film(folder, name)) for name in SIZES}
    if video is not None:
        files["yours"] = video
    print(f"\n{BUDGET} frames chosen and encoded, seconds (× decoding alone), fastest of {repeat}")
    print(
        f"{'video':7} {'threads':>7} {'decode':>8} {'scene':>15} {'fast':>15} {'keyframes':>15} {'small frames':>15}"
    )
    for name, path in files.items():
        seconds: dict[str, float] = {}
        for threads in (1, 2):
            runs: dict[str, Callable[[], object]] = {
                "decode": partial(_decode, path, threads),
                "exact": partial(_select, path, threads),
                "fast": partial(_select, path, threads, "fast"),
                "keyframes": partial(_select, path, threads, "keyframes"),
                "small": partial(_select, path, threads, small_frames=SMALL_FRAMES),
            }
            taken = _fastest(runs, repeat)
            floor = taken["decode"]
            cells = [f"{taken[k]:7.2f} ({taken[k] / floor:4.2f}×)" for k in list(runs)[1:]]
            print(f"{name:7} {threads:7} {floor:8.2f} {' '.join(cells)}", flush=True)
            seconds |= {f"{key}_{threads}": value for key, value in taken.items()}
            seconds[f"peer_{threads}"] = min(_peer(path, threads) for _ in range(min(2, repeat)))
        peers = {t: seconds[f"exact_{t}"] / seconds[f"peer_{t}"] for t in (1, 2)}
        figures[f"scene_over_decode_{name}"] = max(
            seconds[f"exact_{t}"] / seconds[f"decode_{t}"] for t in (1, 2)
        )
        figures[f"scene_over_pyscenedetect_{name}"] = max(peers.values())
        print(f"{name:7} PySceneDetect's AdaptiveDetector: ", end="")
        print(
            ", ".join(
                f"{t} thread{'s'[: t - 1]} {seconds[f'peer_{t}']:.2f}, ours {r:.2f}×"
                for t, r in peers.items()
            )
        )
        for speed in ("fast", "keyframes", "small"):
            ratio = max(seconds[f"{speed}_{t}"] / seconds[f"exact_{t}"] for t in (1, 2))
            figures[f"{speed}_over_exact" + ("" if name == "1080p" else f"_{name}")] = ratio
    figures["correlation_375_s"] = _correlation(repeat)
    figures |= _throughput(files["360p"])
    for name, value in figures.items():
        print(f"{name:36} {value:.3f}")
    return figures


def _correlation(repeat: int) -> float:
    """Seconds to correlate 375 frames of 128 × 128, each with the last kept one, if all are kept."""
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (375, 128, 128)).astype(np.uint8)

    def run() -> None:
        similarity = correlator(pictures)
        for i in range(1, len(pictures)):
            similarity(i - 1, i)

    direct = 374 * sum(128 - abs(s) for s in range(-127, 128)) ** 2
    points = cv2.getOptimalDFTSize(255) ** 2
    transforms = (375 + 374) * 2.5 * points * np.log2(points)
    print(
        f"\ncorrelation, 375 frames at 128 × 128, zero-padded: {transforms / 1e9:.1f} G operations "
        f"in 749 real transforms, instead of {direct / 1e9:.0f} G multiplications of the direct sum"
    )
    return _fastest({"run": run}, repeat)["run"]


def _work(path: str, speed: str) -> None:
    _select(path, 1, speed)


def _throughput(path: str) -> dict[str, float]:
    """Speed over many videos in worker processes of one thread each, without their start: ratio of two workers
    to one, and seconds of video per second."""

    def per_video(workers: int, speed: str) -> float:
        few, many = 2 * workers, 10 * workers
        taken = []
        for count in (few, many):
            started = time.perf_counter()
            work = partial(_work, speed=speed)
            for done in run_each(
                work, [path] * count, workers=workers, timeout_s=600, memory_gib=8
            ):
                assert done.outcome is None, done.outcome
            taken.append(time.perf_counter() - started)
        return (taken[1] - taken[0]) / (many - few)

    cores = os.cpu_count() or 1
    both, alone = (min(per_video(n, "exact") for _ in range(3)) for n in (2, 1))
    figures = {"workers2_over_1": alone / both}
    for speed in ("exact", "fast", "keyframes"):
        seconds = both if speed == "exact" else per_video(2, speed)
        figures[f"realtime_360p_{speed}"] = SECONDS / seconds
    print(
        f"\n2 workers on {cores} cores at 360p; FineVideo's 3,425 hours in a day need 143 × real time"
    )
    return figures


def measure_memory(folder: Path) -> dict[str, float]:
    """Peak memory (MiB) of one process on a 2-minute and on a 3-hour video."""
    figures = {}
    for name, path in (("2min", film(folder, "360p")), ("3h", repeated_file(folder, 90))):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            figures[f"peak_mib_{name}"] = pool.apply(_peak_mib, (str(path),))
        print(f"peak_mib_{name:28} {figures[f'peak_mib_{name}']:.0f}", flush=True)
    return figures


def _peak_mib(path: str) -> float:
    _select(path, 1)
    # not getrusage: it includes the parent's peak
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024
