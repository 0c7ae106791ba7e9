"""Timed text of a video: a file beside it (`.srt`, `.vtt`, `.ass`), else a text stream inside it. FFmpeg reads both."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
from charset_normalizer import from_bytes

from data.errors import one_line
from data.sample import Stated
from data.video.info import container_start_s

FORMATS = {".srt": "srt", ".vtt": "webvtt", ".ass": "ass", ".ssa": "ass"}
TEXTS = frozenset({"subrip", "srt", "ass", "ssa", "webvtt", "mov_text", "text"})
"""Codecs of subtitles that are text, not pictures of it."""
MOST_BYTES = 16 * 2**20
"""Of a file beside a video."""
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]+)*")
_STYLE = re.compile(r"\{\\[^}]*\}|<[^>]*>")


class BadSubtitles(Exception):
    """Timed text is there and cannot be read; the video is used without it."""


def subtitles(path: str) -> list[Stated]:
    """What is said, by start; empty if there is no timed text. Times count from the video's start.

    Raises:
        BadSubtitles: there is, and it cannot be read.
    """
    try:
        beside = _beside(Path(path))
        return _without_echoes(_of_file(beside) if beside is not None else _inside(path))
    except (OSError, ValueError, av.error.FFmpegError) as error:
        raise BadSubtitles(one_line(error)) from None


def _beside(video: Path) -> Path | None:
    """The file with the video's name, perhaps with a language (`clip.en.vtt`); the plain name first."""
    try:
        names = _files_in(str(video.parent), video.parent.stat().st_mtime_ns)
    except OSError:
        return None
    own = [*names.get(video.stem, ()), *names.get(video.name, ())]
    return next((video.parent / n for n in sorted(own, key=lambda n: n.count("."))), None)


@lru_cache(maxsize=8)
def _files_in(folder: str, changed_ns: int) -> dict[str, list[str]]:
    """The subtitle files of a folder by the stem before a language. Kept, for a folder may have very many."""
    found: dict[str, list[str]] = {}
    for name in sorted(entry.name for entry in os.scandir(folder)):
        path = Path(name)
        if path.suffix.lower() in FORMATS:
            found.setdefault(path.stem, []).append(name)
            if _LANGUAGE.fullmatch(Path(path.stem).suffix[1:]):
                found.setdefault(Path(path.stem).stem, []).append(name)
    return found


def _of_file(path: Path) -> list[Stated]:
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise BadSubtitles(f"{path.name}: larger than {MOST_BYTES >> 20} MiB")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        guess = from_bytes(content).best()
        if guess is None:
            raise BadSubtitles(f"{path.name}: not text") from None
        text = str(guess)
    with av.open(io.BytesIO(text.encode()), format=FORMATS[path.suffix.lower()]) as container:
        found = list(_cues(container, container.streams.subtitles[0], 0.0))
    if not found and text.strip():
        raise BadSubtitles(f"{path.name}: no cue in it")
    return found


def _inside(path: str) -> list[Stated]:
    """The text stream that is marked as default, else the first; a file without one is not read."""
    with av.open(path) as container:
        texts = [s for s in container.streams.subtitles if s.codec_context.name in TEXTS]
        if not texts:
            return []
        stream = next((s for s in texts if s.disposition & s.disposition.default), texts[0])
        return list(_cues(container, stream, container_start_s(container)))


def _cues(container: Any, stream: Any, zero_s: float) -> Iterator[Stated]:
    for packet in container.demux(stream):
        if packet.pts is None or not packet.size:
            continue
        begin_s = float(packet.pts * packet.time_base) - zero_s
        end_s = begin_s + float((packet.duration or 0) * packet.time_base)
        for cue in packet.decode():
            said = _STYLE.sub("", bytes(cue.dialogue or cue.text).decode("utf-8", "replace"))
            if said.strip() and end_s > max(0.0, begin_s):
                yield Stated(max(0.0, begin_s), end_s, said)


def _without_echoes(cues: list[Stated]) -> list[Stated]:
    """The cues by start, on one line each; a line that the cue before showed is left out, for captions that
    roll up show each line twice."""
    found: list[Stated] = []
    before: list[str] = []
    for cue in sorted(cues, key=lambda c: c.start_s):
        lines = [" ".join(line.split()) for line in cue.text.splitlines() if line.strip()]
        new = [line for line in lines if line not in before]
        before = lines
        if new:
            found.append(Stated(cue.start_s, cue.end_s, " ".join(new)))
    return found
