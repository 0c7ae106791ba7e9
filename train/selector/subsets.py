"""Frame-Voyager's material (arXiv 2410.03226): several subsets of frames of each video, each with the loss of the
describer's answer. `out/losses.jsonl` keeps them: a run that was killed goes on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from data.errors import UserError
from train.inference.answer_loss import Case, Describer, Subset
from train.selector.pool import PoolVideo

LOSSES = "losses.jsonl"
ROUNDS = 4


@dataclass(frozen=True)
class Judged:
    """A video and what the describer made of subsets of its frames."""

    video: PoolVideo
    subsets: tuple[Subset, ...]
    losses: tuple[float, ...]

    @property
    def row(self) -> dict[str, Any]:
        return self.video.row


def judged(
    describer: Describer,
    pool: Sequence[PoolVideo],
    budgets: Sequence[int],
    per_video: int,
    batch: int,
    seed: int,
    out: Path,
) -> list[Judged]:
    """The losses of `per_video` subsets of each video, in `ROUNDS`. Those of the first are drawn; in each further
    round the best so far of each size has one or two frames changed, so that good subsets are compared too.

    Raises:
        UserError: `losses.jsonl` in `out` is of other subsets.
    """
    before = _read(out / LOSSES)
    result = []
    with (out / LOSSES).open("a", encoding="utf-8") as file:
        for number, video in enumerate(tqdm(pool, desc="judge subsets", unit="video")):
            if (known := before.get(video.id)) is not None:
                if len(known[0]) != per_video or max(map(max, known[0])) >= len(video.jpegs):
                    raise UserError(
                        f"{out / LOSSES}: is of other subsets; remove it, or give the keys that made it"
                    )
                result.append(Judged(video, *known))
                continue
            rng = np.random.default_rng([seed, number])
            features = describer.features(video.jpegs)
            sizes = [min(k, len(video.jpegs)) for k in budgets]
            subsets: list[Subset] = []
            losses: list[float] = []
            for part in np.array_split(np.arange(per_video), ROUNDS):
                tried = []
                for i in part:
                    size = sizes[i % len(sizes)]
                    own = [j for j in range(len(losses)) if len(subsets[j]) == size]
                    if own:
                        best = subsets[min(own, key=lambda j: losses[j])]
                        tried.append(changed(rng, len(video.jpegs), best))
                    else:
                        tried.append(drawn(rng, len(video.jpegs), size))
                subsets += tried
                cases = [Case(video.row, features, subset) for subset in tried]
                losses += describer.losses(cases, batch).tolist()
            result.append(Judged(video, tuple(subsets), tuple(losses)))
            line = {"id": video.id, "subsets": subsets, "losses": [round(v, 6) for v in losses]}
            file.write(json.dumps(line) + "\n")
            file.flush()
    return result


def _read(path: Path) -> dict[str, tuple[tuple[Subset, ...], tuple[float, ...]]]:
    """Id → subsets and losses; a last line that was cut off by a kill is left out."""
    found = {}
    whole = path.read_text(encoding="utf-8") if path.is_file() else ""
    if whole and not whole.endswith("\n"):
        whole = whole[: whole.rfind("\n") + 1]
        path.write_text(whole, encoding="utf-8")
    for line in whole.splitlines():
        row = json.loads(line)
        found[row["id"]] = (tuple(map(tuple, row["subsets"])), tuple(row["losses"]))
    return found


def drawn(rng: np.random.Generator, count: int, size: int) -> Subset:
    """`size` of `count` frames: any, or one of each of as many equal spans."""
    if rng.random() < 0.5:
        return tuple(sorted(map(int, rng.choice(count, size, replace=False))))
    edges = np.linspace(0, count, size + 1)
    low = np.ceil(edges[:-1]).astype(int)
    high = np.maximum(low, np.ceil(edges[1:]).astype(int) - 1)
    return tuple(sorted({int(rng.integers(a, b + 1)) for a, b in zip(low, high, strict=True)}))


def changed(rng: np.random.Generator, count: int, subset: Subset) -> Subset:
    """The subset with one or two frames replaced by others."""
    others = sorted(set(range(count)) - set(subset))
    swaps = min(int(rng.integers(1, 3)), len(others), len(subset))
    gone = set(map(int, rng.choice(subset, swaps, replace=False)))
    come = map(int, rng.choice(others, swaps, replace=False)) if swaps else ()
    return tuple(sorted((set(subset) - gone) | set(come)))
