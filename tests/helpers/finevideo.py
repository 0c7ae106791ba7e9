"""Rows in FineVideo's real schema, with its oddities planted and counted."""

from __future__ import annotations

import json
import random
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

VERBS = (
    "washes",
    "lifts",
    "cuts",
    "paints",
    "carries",
    "opens",
    "throws",
    "folds",
    "cleans",
    "builds",
)
THINGS = (
    "a red ball",
    "two chairs",
    "the door",
    "a long rope",
    "some bread",
    "the bicycle",
    "a kite",
)
PEOPLE = ("Lena", "The coach", "A boy", "The crew", "An old man")


def clock(seconds: float) -> str:
    ms = round(seconds * 1000)
    return f"{ms // 3600000:02d}:{ms // 60000 % 60:02d}:{ms // 1000 % 60:02d}.{ms % 1000:03d}"


def span(start_s: float | None, end_s: float | None) -> dict[str, str | None]:
    return {
        "start_timestamp": None if start_s is None else clock(start_s),
        "end_timestamp": None if end_s is None else clock(end_s),
    }


def row(index: int, duration_s: int, oddities: Counter[str] | None = None) -> dict[str, Any]:
    """The `json` column of one row. With `oddities`, activities go wrong at the rates that were
    measured on the real dataset, and what went wrong is counted under the repair's name."""
    draw = random.Random(index)
    num_scenes = draw.choice((1, 2, 2, 3, 3, 5))
    bounds = [duration_s * i / num_scenes for i in range(num_scenes + 1)]
    scenes = []
    for number, (start, end) in enumerate(pairwise(bounds), start=1):
        activities = []
        step = (end - start) / 4
        for k in range(3):
            text = f"{draw.choice(PEOPLE)} {draw.choice(VERBS)} {draw.choice(THINGS)} number {index}-{number}-{k}"
            times = _planted(start + k * step, start + (k + 1) * step, duration_s, draw, oddities)
            activities.append({"description": text, "timestamp": times})
        if oddities is not None and draw.random() < 0.033:  # 14 of 419 scenes
            activities[:2] = activities[1::-1]
            oddities["out of order"] += all(
                _kept(a["timestamp"], duration_s) for a in activities[:2]
            )
        scenes.append(
            {
                "sceneId": number,
                "title": f"Part {number} of {index}",
                "timestamps": span(start, end),
                "cast": ["Lena", "somebody else"],
                "activities": activities,
                "props": [{"name": draw.choice(THINGS), "timestamp": span(start, None)}],
                "videoEditingDetails": [],
                "mood": {"description": "Neutral", "keyMoments": []},
                "narrativeProgression": [{"description": "It goes on.", "timestamp": None}],
                "characterInteraction": [],
                "thematicElements": "Work.",
                "contextualRelevance": "",
                "dynamismScore": 0.5,
                "audioVisualCorrelation": draw.choice((0.3, 0.8, 0.9, 1.0)),
            }
        )
    return {
        "content_fine_category": ("Recipe Videos", "Football", "Travel")[index % 3],
        "content_parent_category": ("Lifestyle", "Sports")[index % 2],
        "content_metadata": {
            "title": f"Video {index}",
            "description": f"Somebody works in yard {index}.",
            "characterList": [],
            "fps": 29.97,
            "scenes": scenes,
            "storylines": {"description": "", "scenes": [1], "climax": {"description": "", "timestamp": None}},
            "qAndA": [{"question": "Where is it?", "answer": f"In yard {index}."}],
            "trimmingSuggestions": [{"description": None, "timestamps": span(None, None)}],
        },
        "duration_seconds": duration_s,
        "resolution": "640x360",
        "original_video_filename": f"yt{index:09d}.mp4",
        "original_json_filename": f"yt{index:09d}.json",
        "text_to_speech": "hello everyone today we are going to build a wooden house in the garden",
        "text_to_speech_word_count": 14,
        "timecoded_text_to_speech": [{"start": clock(0), "end": clock(1), "text": " Hello everyone."}],
        "youtube_title": f"Yard {index}",
        "youtube_channel": "YardExample",
        "youtube_upload_date": "20210614",
    }  # fmt: skip


def _kept(times: dict[str, str | None], duration_s: float) -> bool:
    start, end = times.values()
    return start is not None and end is not None and start < end and start < clock(duration_s)


def _planted(
    start_s: float, end_s: float, duration_s: float, draw: random.Random, oddities: Counter[str] | None
) -> dict[str, str | None]:  # fmt: skip
    if oddities is None:
        return span(start_s, end_s)
    chance = draw.random()
    if chance < 0.124:
        oddities["no length"] += 1
        return span(start_s, start_s)
    if chance < 0.13:
        oddities["ends before it starts"] += 1
        return span(end_s, start_s)
    if chance < 0.135:
        oddities["time missing"] += 1
        return span(start_s, None)
    if chance < 0.14:
        oddities["starts after the video's end"] += 1
        return span(duration_s + 5, duration_s + 9)
    if chance < 0.15:
        oddities["cut at the video's end"] += 1
        return span(start_s, duration_s + 279)
    return span(start_s, end_s)


def write_parquet(
    path: Path, rows: list[dict[str, Any]], videos: list[bytes], group: int = 8
) -> Path:
    """As on the Hub: `mp4` bytes and `json` struct."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"mp4": videos, "json": rows}), path, row_group_size=group)
    return path


def write_dump(folder: Path, rows: list[dict[str, Any]], videos: list[bytes]) -> Path:
    """The layout that the dataset card's own recipe leaves."""
    for part in ("videos", "metadata"):
        (folder / part).mkdir(parents=True)
    for i, (row_, video) in enumerate(zip(rows, videos, strict=True)):
        (folder / "videos" / f"sample_{i}.mp4").write_bytes(video)
        (folder / "metadata" / f"sample_{i}.json").write_text(json.dumps(row_))
    return folder
