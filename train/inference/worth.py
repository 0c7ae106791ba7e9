"""What are a video's frames worth to a model? The loss of the row's own answer with its frames, with blank ones, with
another video's, and with its times moved; of the first, that of its times alone. Beside them, whether its times fit its
pictures, which no model is asked.

A model that looks loses much when it is shown something else. A row that loses nothing may have the text of another
video; one that gains by moving its times may have them wrong.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase

from data.curation.times import fit_of
from train.batches.frames import frame_size_px
from train.batches.swapped import blank, others_of, spread
from train.inference.answer_loss import Case, Describer
from train.metrics.degeneration import TIMES

MOVED_S = (-4.0, -2.0, 2.0, 4.0)
"""By how much the times of events are moved."""
LEAST_S = 0.5
"""Shortest that a moved event becomes."""
VERSION = 3
"""Of these figures, where they are kept in a file."""


@dataclass(frozen=True)
class Worth:
    """Losses of a row's answer, in nats a token, and whether its times fit its pictures."""

    id: str
    own: float
    """With its own frames."""
    blank: float
    """With grey pictures at the same times."""
    other: float
    """With the frames of another video at these times."""
    moved: float | None
    """With its own, the times of its events moved, the lowest; None: it has no times to move."""
    moved_s: float
    """By how much, in seconds."""
    times: float | None
    """With its own, of the tokens that tell times; None: there are none."""
    fit: float | None
    """How much better its times fit the changes of its pictures than other times would (`data.curation.times`)."""
    tokens: int
    """Of the answer."""
    length_s: float
    """Of what the row shows of the video."""

    @property
    def worth(self) -> float:
        """What the frames are worth."""
        return self.blank - self.own


def worths(
    describer: Describer,
    rows: Sequence[Mapping[str, Any]],
    videos: Sequence[str],
    batch: int,
    start: int = 0,
    *,
    moves: bool = True,
) -> Iterator[Worth]:
    """The losses of rows with frames, from row `start` on. The other video of a row is that of a neighbour
    (`others_of`), so rows should come in a random order.

    Args:
        videos: `video_id` of each row.
        moves: also with the times of the events moved, and whether they fit the pictures.

    Raises:
        UserError: a loss is not finite.
    """
    grey = describer.features_of(blank(frame_size_px(describer.processor)))  # (1, N, H)

    @lru_cache(maxsize=4)
    def seen(i: int) -> tuple[Mapping[str, Any], torch.Tensor]:
        """The row, and the (M, N, H) features of its frames."""
        row = rows[i]
        return row, describer.features([frame["bytes"] for frame in row["frames"]])

    others = others_of(videos)
    for i in range(start, len(videos)):
        yield _worth(describer, *seen(i), seen(others[i])[1], grey, batch, moves)


def measured(
    describer: Describer,
    rows: Dataset,
    file: Path,
    done: Sequence[Worth],
    batch: int,
    *,
    moves: bool,
) -> list[Worth]:
    """`done`, which `file` holds, and those of the rows after it, each appended when it is known."""
    found = list(done)
    with (
        file.open("a", encoding="utf-8") as lines,
        tqdm(desc=f"losses of {file.stem}", unit="row", total=len(rows), initial=len(done)) as bar,
    ):
        videos = rows["video_id"]
        for one in worths(describer, rows, videos, batch, start=len(done), moves=moves):
            lines.write(json.dumps(asdict(one)) + "\n")
            lines.flush()
            found.append(one)
            bar.update()
    return found


def _worth(
    describer: Describer,
    row: Mapping[str, Any],
    features: torch.Tensor,
    others: torch.Tensor,
    grey: torch.Tensor,
    batch: int,
    moves: bool,
) -> Worth:
    count = len(row["times_s"])
    every = tuple(range(count))
    cases = [
        Case(row, features, every),
        Case(row, grey.expand(count, -1, -1), every),
        Case(row, spread(others, count), every),
    ]
    steps_s = [step_s for step_s in MOVED_S if moves and row["events"]]
    cases += [Case(moved(row, step_s), features, every) for step_s in steps_s]
    found = describer.token_losses(cases, batch)
    own, without, other, *rest = (float(one.mean) for one in found)
    best = min(range(len(rest)), key=lambda i: rest[i], default=None)
    told = found[0].losses[of_times(found[0].ids.tolist(), describer.processor.tokenizer)]
    return Worth(
        str(row["id"]),
        own,
        without,
        other,
        None if best is None else rest[best],
        0.0 if best is None else steps_s[best],
        float(told.mean()) if len(told) else None,
        fit_of(row) if moves else None,
        len(found[0].ids),
        float(row["end_s"]) - float(row["start_s"]),
    )


def of_times(ids: list[int], tokenizer: PreTrainedTokenizerBase) -> list[bool]:
    """Which tokens of an answer are part of a time, as `00:07`."""
    pieces = tokenizer.convert_ids_to_tokens(ids)  # a digit is written as itself in them
    ends = list(accumulate(map(len, pieces), initial=0))
    told = [found.span() for found in TIMES.finditer("".join(pieces))]
    return [any(start < high and low < end for low, high in told) for start, end in pairwise(ends)]


def moved(row: Mapping[str, Any], step_s: float) -> dict[str, Any]:
    """The row with its events moved by `step_s` seconds, within the part of the video that it shows; of one that would
    leave it, a last moment stays."""
    low, high = float(row["start_s"]), float(row["end_s"])
    least_s = min(LEAST_S, (high - low) / 2)
    events = []
    for event in row["events"]:
        start_s = min(max(event["start_s"] + step_s, low), high - least_s)
        end_s = min(max(event["end_s"] + step_s, start_s + least_s), high)
        events.append({**event, "start_s": start_s, "end_s": end_s})
    return {**row, "events": events}
