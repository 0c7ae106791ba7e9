"""A run of ours as the teacher: what it describes, as captions to learn from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from data.sources.files import videos_of
from train.inference.config import DescribeConfig
from train.inference.describe import run_for
from train.inference.folder.describe import describe_folder
from train.inference.folder.files import records
from train.teacher.config import CaptionConfig

DESCRIBED = "described"


def told_by_run(config: CaptionConfig) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of the videos that the run describes, and those that it cannot. Descriptions that loop, were cut off or
    say nothing are no captions.

    Raises:
        UserError: the run cannot be used.
    """
    asked = DescribeConfig(
        videos=(str(config.source.path),),
        out=str(Path(config.out) / DESCRIBED),
        adapter=config.adapter,
        frames=config.frames,
        workers=config.workers,
        format=("json",),
        overwrite=config.overwrite,
    )
    videos = videos_of(asked.videos)
    describe_folder(asked, run_for(asked), videos)
    done, failed = [], []
    for record in records(Path(str(asked.out))):
        about = {"id": record["id"], "video": str(Path(record["video"]).resolve())}
        why = _why_not(record)
        if why:
            failed.append({**about, "why": why})
            continue
        events = [[e["start_s"], e["end_s"], e["text"]] for e in record["events"]]
        text = " ".join(event[2] for event in events) if events else record["text"]
        done.append({**about, "events": events, "description": text})
    return done, failed


def _why_not(record: dict[str, Any]) -> str:
    if "error" in record:
        return f"{record['reason']}: {record['error']}"
    for mark, why in (("cut", "the answer was cut off"), ("looped", "the answer repeated itself")):
        if record[mark]:
            return why
    return "" if record["events"] or record["text"].strip() else "nothing was said"
