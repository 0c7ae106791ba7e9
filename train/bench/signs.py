"""Is small text read with quarters of a frame, and not without? Made-up videos, in one scene of which stands a
number too small for the model's square; one tiny model is trained with quarters and one without, at equal frames."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from data.config import load
from data.offline.config import PrepareConfig
from data.offline.prepare import prepare
from data.prepared.dataset import Prepared
from data.video.h264 import write_h264
from train.batches.split import split
from train.bench.config_trained import BenchTokensConfig
from train.bench.seeds import base_that_sees, in_pool, one_core_each, quietly, tiny_run
from train.console import say
from train.evaluation.answers import answers
from train.evaluation.config import GenerateKeys
from train.evaluation.intervals import bootstrap, interval, mean
from train.run.saved import read_run

SIDE, RATE, SCENE_FRAMES = 192, 10, 12
WORDS = ("OPEN", "OVEN", "SALE", "SAFE", "STOP", "STEP")
TEXT_PX = 9
"""Size of the letters: 3 pixels of a frame of the tiny model are as high, 6 of a quarter."""
FRAMES, PX = 8, 96
PICTURES = 6000
"""With which the tower learns to read."""
EVAL_SHARE = 0.1
TILES = (0, 1)
STATED = "a sign says {}."


def film(rng: np.random.Generator, word: str) -> Iterator[np.ndarray]:
    """Three scenes of one colour each; in one of them stands the sign."""
    shown = int(rng.integers(3))
    for scene in range(3):
        picture = plain(rng)
        if scene == shown:
            put_sign(rng, picture, word)
        yield from [np.asarray(picture)] * SCENE_FRAMES


def plain(rng: np.random.Generator) -> Image.Image:
    return Image.new("RGB", (SIDE, SIDE), tuple(map(int, rng.integers(40, 216, 3))))


def put_sign(rng: np.random.Generator, picture: Image.Image, word: str) -> tuple[int, int]:
    """Draw a small card with the word about the middle of a quarter, as a card that is cut in two would be another
    question; returns the quarter's column and row."""
    column, row = (int(rng.integers(2)) for _ in range(2))
    x, y = (place * SIDE // 2 + int(rng.integers(30, 36)) for place in (column, row))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((x, y, x + 32, y + 13), fill="white")
    draw.text((x + 3, y + 1), word, fill="black", font=ImageFont.load_default(TEXT_PX))
    return column, row


def reading_base(work: str, seed: int, steps: int) -> None:
    """Make the model that both settings of a seed start from, as SmolVLM2 starts with a tower that can read: it has
    learned the words from whole pictures and from quarters."""
    base_that_sees(Path(work) / f"reads-{seed}", seed, _pictures, steps)


def _pictures(
    rng: np.random.Generator, size_px: int
) -> tuple[torch.Tensor, torch.Tensor, list[int]]:
    """Frames and quarters with and without a sign: (N, 3, S, S) uint8, (N, 1) the word's number, how many there are."""
    frames, words = [], []
    for i in range(PICTURES):
        picture, word = plain(rng), int(rng.integers(len(WORDS) + 1))
        column, row = 0, 0
        if word < len(WORDS):
            column, row = put_sign(rng, picture, WORDS[word])
        if i % 2:
            half = SIDE // 2
            picture = picture.crop(
                (column * half, row * half, (column + 1) * half, (row + 1) * half)
            )
        picture = picture.resize((PX, PX), Image.Resampling.BOX)
        frames.append(np.asarray(picture.resize((size_px, size_px), Image.Resampling.LANCZOS)))
        words.append([word])
    pictures = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).contiguous()
    return pictures, torch.tensor(words), [len(WORDS) + 1]


def compare_tiles(config: BenchTokensConfig) -> dict[str, float]:
    """Render, prepare, train, describe; returns flat figures: the share of held-out signs that are read. Results of
    an earlier call are reused."""
    videos = render(Path(config.work) / "signs", config.videos)
    for tiles in TILES:
        keys = [
            "source=jsonl",
            f"source.path={videos}",
            f"frames.max={FRAMES}",
            f"frames.px={PX}",
            f"frames.tiles={tiles}",
            f"out={_dataset(config, tiles)}",
        ]
        prepare(load(PrepareConfig, keys))
    pairs = [(config, tiles, seed) for seed in config.seeds for tiles in TILES]
    with one_core_each(config.workers) as pool:
        warm = [(config.work, seed, config.prewarm_steps) for seed in config.seeds]
        in_pool(pool, "learn to read", reading_base, warm)
        read = in_pool(pool, "train and read", train_and_read, pairs)
    of = {(tiles, seed): right for (_, tiles, seed), right in zip(pairs, read, strict=True)}
    figures: dict[str, float] = {"signs/chance": 1 / len(WORDS)}
    lines = ["| frames | signs read [95 %] | each seed |", "|---|---|---|"]
    for tiles in TILES:
        right = np.array([of[tiles, seed] for seed in config.seeds])  # (seeds, videos)
        low, high = interval(bootstrap([mean("read", right.mean(axis=0))])[:, 0])
        key = f"signs/tiles={tiles}"
        figures |= {key: float(right.mean()), f"{key}/low": low, f"{key}/high": high}
        for seed, one in zip(config.seeds, right, strict=True):
            figures[f"{key}/seed_{seed}"] = float(one.mean())
        shown = f"{FRAMES - 4 * tiles} whole" + f" + {4 * tiles} quarters" * bool(tiles)
        seeds = ", ".join(f"{one.mean():.2f}" for one in right)
        lines.append(f"| {shown} | {right.mean():.2f} [{low:.2f}, {high:.2f}] | {seeds} |")
    say("\n".join(lines))
    return figures


def render(folder: Path, count: int) -> Path:
    """Make the videos that are missing; returns the file that lists them."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for i in range(count):
        rng = np.random.default_rng([7, i])
        word = str(rng.choice(WORDS))
        path = folder / f"{i:05}.mp4"
        if not path.exists():
            write_h264(path, film(rng, word), rate=RATE, crf=12)
        lines.append(json.dumps({"video": path.name, "description": STATED.format(word)}))
    listed = folder / "signs.jsonl"
    listed.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return listed


def _dataset(config: BenchTokensConfig, tiles: int) -> Path:
    return Path(config.work) / f"signs-{tiles}"


def train_and_read(config: BenchTokensConfig, tiles: int, seed: int) -> list[bool]:
    """Whether each held-out sign is read by a model that learned with so many frames in quarters."""
    folder = Path(config.work) / f"run-signs-{tiles}-{seed}"
    tiny_run(
        f"{config.work}/reads-{seed}",
        _dataset(config, tiles),
        folder,
        steps=config.steps,
        seed=seed,
        more=[f"data.eval_share={EVAL_SHARE}", "data.target=paragraph"],
    )
    rows = Prepared.open(_dataset(config, tiles)).rows()
    held = rows.select(split(rows, EVAL_SHARE, len(rows)).held)
    keys = GenerateKeys(max_new_tokens=24, batch=32)
    with quietly(folder / "read.txt"):
        said = answers(
            read_run(folder), held, keys, folder / "said.jsonl", dtype="fp32", overwrite=False
        )
    return [one.text.strip() == want for one, want in zip(said, held["description"], strict=True)]
