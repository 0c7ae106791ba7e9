"""Held-out videos of which a copy was trained on: a model may know their answers by heart."""

from __future__ import annotations

from collections.abc import Collection

from datasets import Dataset

from data.curation.copies import groups_of_copies
from data.curation.strips import seen_videos
from data.prepared.dataset import Prepared
from train.console import say
from train.evaluation.records import Problems

MOST_ROWS = 10_000
"""Of a dataset, up to which copies are looked for without being asked: minutes on two cores."""


def name_copies(
    asked: bool | None,
    dataset: Prepared,
    rows: Dataset,
    unseen: Collection[str],
    wanted: Collection[str],
    problems: Problems,
) -> None:
    """Note which of the held-out videos show what one shows that was trained on.

    Args:
        asked: look for them (None: in datasets of up to `MOST_ROWS` rows).
        unseen: ids of the samples that were not trained on.
        wanted: of these, the ones that are evaluated.
    """
    if asked is None and len(rows) > MOST_ROWS:
        say(f"copies are not looked for among {len(rows):,} rows; copies=true does it")
    if not (len(rows) <= MOST_ROWS if asked is None else asked):
        return
    pairs = list(zip(rows["sample_id"], rows["video_id"], strict=True))
    held = {video for name, video in pairs if name in wanted}
    trained = {video for name, video in pairs if name not in unseen}
    videos = seen_videos(dataset, workers=None)
    for group in groups_of_copies(videos):
        names = [videos[i].rows[0].video_id for i in group]
        known = next((name for name in names if name in trained), None)
        for name in names if known is not None else ():
            if name in held:
                problems.note("held-out videos of which a copy was trained on", f"{name} = {known}")
