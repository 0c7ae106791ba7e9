"""What scripts/caption.py does: videos without labels → rows of JSON Lines that a teacher has told, for source=jsonl.

out/captions.jsonl   a row a video, in their order: id, video, events, description, teacher
out/failed.jsonl     videos that could not be told, and why
out/captions.json    what was asked of whom
out/prepared/        the frames that were shown
out/answers.jsonl    all answers: the same command goes on with them
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event, Lock
from typing import Any

from datasets import Dataset
from tqdm import tqdm

from data.config import resolved
from data.errors import UserError, differing, made_otherwise
from data.locks import locked
from data.media import VideoFile
from data.offline.config import PrepareConfig
from data.offline.prepare import prepare
from data.prepared.dataset import Prepared
from data.prepared.shards import quarantined
from data.sample import Sample
from data.sources import catalog
from data.storage import open_folder, write_atomically
from data.window import Window, rows_of_samples
from train.answered import Answered
from train.chat import Chat, Question, Refused
from train.console import say
from train.cost import CHARACTERS_A_TOKEN, PICTURE_TOKENS, priced
from train.teacher.config import CaptionConfig, TeacherKeys
from train.teacher.levels import Captioned, Shown, Unreadable, caption, num_questions
from train.teacher.words import VERSION, is_told

CAPTIONS, FAILED, RECORD = "captions.jsonl", "failed.jsonl", "captions.json"
ANSWERS, FRAMES = "answers.jsonl", "prepared"
SHARD_ROWS = 64
TEXT_TOKENS, ANSWER_TOKENS = 350, 250
"""Of a question and its answer, for the estimate: servers differ."""


def caption_videos(config: CaptionConfig) -> tuple[int, int]:
    """Write the captions of all videos; returns how many there are, and how many could not be told. Done again, nothing
    is asked twice; a run that was stopped goes on.

    Raises:
        UserError: `out` holds captions of something else, the server cannot be reached, or would be asked too much.
    """
    out = Path(config.out)
    keys = resolved(config)
    told_by = {"model": config.teacher.model or Path(str(config.adapter)).name}
    made: dict[str, Any] = {
        "teacher": {**told_by, "words": VERSION},
        **{name: value for name, value in keys.items() if _decides(name)},
    }
    with locked(out, f"out={out}"):
        _claim(out, made, config.overwrite)
        if config.adapter is not None:
            from train.teacher.own import told_by_run  # imports torch

            rows, failed = told_by_run(config)
        else:
            rows, failed = _told_by_server(config, out)
        mark = {"teacher": made["teacher"]}
        write_atomically(out / CAPTIONS, "".join(_line({**row, **mark}) for row in rows))
        write_atomically(out / FAILED, "".join(map(_line, failed)))
        counts = {"captioned": len(rows), "failed": len(failed)}
        write_atomically(out / RECORD, json.dumps({**made, **counts}, indent=1) + "\n")
    return len(rows) + len(failed), len(failed)


def _decides(name: str) -> bool:
    """Whether a key decides what captions say."""
    told = ("teacher.base_url", "teacher.hint", "teacher.group", "teacher.max_tokens")
    return name.startswith(("source.", "frames.")) or name in told


def _line(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"


def _claim(out: Path, made: dict[str, Any], overwrite: bool) -> None:
    path = out / RECORD
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    others = [p.name for p in out.iterdir() if not p.name.startswith(".")]
    if before is None and others:
        raise UserError(f"out={out}: is not empty and holds no captions; choose another folder")
    changed = [] if before is None else differing(before, made)
    if changed and not overwrite:
        raise made_otherwise(f"out={out}", "captions", changed)
    if before is None or changed:
        (out / CAPTIONS).unlink(missing_ok=True)
        write_atomically(path, json.dumps(made, indent=1) + "\n")


# --- by a server --------------------------------------------------------------------------------


def _told_by_server(
    config: CaptionConfig, out: Path
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    keys = config.teacher
    prepared = PrepareConfig(
        source=config.source,
        frames=config.frames,
        out=str(out / FRAMES),
        workers=config.workers,
        shard_rows=SHARD_ROWS,
        overwrite=config.overwrite,
    )
    prepare(prepared)
    samples = [one for one in catalog.read([config.source]) if isinstance(one, Sample)]
    dataset = Prepared.open(out / FRAMES)
    rows = dataset.rows()
    places = rows_of_samples(rows["sample_id"])
    lost = {
        r.id: r
        for n in range(len(dataset.shards))
        for r in quarantined(open_folder(dataset.url), n)
    }
    estimate(keys, rows, places)
    chat = Chat(
        keys.base_url,
        timeout_s=keys.timeout_s,
        extra="judge",
        keys=("teacher.base_url", "teacher.model"),
    )
    teacher = Answered(
        chat,
        str(keys.model),
        out / ANSWERS,
        about=lambda _: (keys.base_url, keys.model, VERSION, keys.max_tokens),
        readable=is_told,
        max_tokens=keys.max_tokens,
        key="out",
    )
    told = _each(samples, places, rows, teacher.ask, keys)
    done, failed = [], []
    for sample, found in tqdm(told, desc="caption", unit="video", total=len(samples)):
        assert isinstance(sample.video, VideoFile)
        about = {"id": sample.id, "video": str(Path(sample.video.path).resolve())}
        if isinstance(found, Captioned):
            events = [[e.start_s, e.end_s, e.text] for e in found.events]
            done.append({**about, "events": events, "description": found.description})
        else:
            quarantine = lost.get(sample.id)
            why = f"{quarantine.reason}: {quarantine.detail}" if quarantine else str(found)
            failed.append({**about, "why": why})
    return done, failed


def estimate(keys: TeacherKeys, rows: Dataset, places: dict[str, list[int]]) -> None:
    """Print what will be asked at most, and its price, before anything is asked.

    Raises:
        UserError: there are more questions than `teacher.max_calls`.
    """
    questions = sum(num_questions(len(here), keys.group) for here in places.values())
    pictures = sum(map(len, rows["times_s"]))
    into = pictures * PICTURE_TOKENS + questions * TEXT_TOKENS
    into += sum(map(len, rows["context"])) // CHARACTERS_A_TOKEN
    out = questions * ANSWER_TOKENS
    line = (
        f"teacher {keys.model}: {len(rows):,} windows of {len(places):,} videos, {questions:,} questions with "
        f"{pictures:,} pictures, less what was answered before; about {into / 1000:,.0f} k tokens asked, "
        f"{out / 1000:,.0f} k answered"
    )
    instead = "take fewer videos (source.limit)"
    say(priced(line, keys, "teacher", calls=questions, into=into, out=out, instead=instead))


def _each(
    samples: Sequence[Sample],
    places: dict[str, list[int]],
    rows: Dataset,
    ask: Callable[[Question], str],
    keys: TeacherKeys,
) -> Iterator[tuple[Sample, Captioned | str]]:
    """Each sample with what is told of it, or why nothing is. Questions about one video follow each other; several
    videos are asked about at a time.

    Raises:
        UserError: the server cannot be reached, or refuses every question.
    """
    reading, stopped = Lock(), Event()

    def go_on(question: Question) -> str:
        if stopped.is_set():  # another video met an error that all would meet
            raise UserError("stopped")
        return ask(question)

    def one(here: Sequence[int]) -> Captioned | str:
        with reading:
            own = [rows[i] for i in here]
        shown, duration_s = list(map(_shown, own)), float(own[0]["duration_s"])
        try:
            return caption(shown, duration_s, go_on, group=keys.group, hint=keys.hint)
        except Unreadable as error:
            return f"unreadable answers ({error})"
        except Refused as error:
            return str(error)

    pool = ThreadPoolExecutor(keys.workers)
    try:
        asked: list[tuple[Sample, Future[Captioned | str] | None]] = [
            (s, pool.submit(one, places[s.id]) if s.id in places else None) for s in samples
        ]
        for sample, future in asked:
            yield sample, "no frames" if future is None else future.result()
    finally:  # do not wait for questions still open
        stopped.set()
        pool.shutdown(wait=False, cancel_futures=True)


def _shown(row: dict[str, Any]) -> Shown:
    jpegs = [frame["bytes"] for frame in row["frames"]]
    pictures = tuple(zip(row["times_s"], jpegs, strict=True))
    return Shown(Window(row["start_s"], row["end_s"]), pictures, row["context"])
