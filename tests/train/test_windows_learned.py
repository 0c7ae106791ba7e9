"""Windows of long videos in training and evaluation."""

import json

from data.offline.config import PrepareConfig
from data.offline.prepare import prepare
from data.prepared.dataset import Prepared
from data.sample import Event
from data.selection.choose import policy_record
from data.selection.config import FrameKeys
from data.sources import microworld
from data.sources.config import SourceKeys
from train.batches.dataset import load_sets
from train.evaluation.by_sample import predictions_of, references_of
from train.run.policy import policy_of_dataset
from train.sections import DataKeys

FILM_S = (80.0, 90.0)
LIMIT_S = 20.0


def test_who_learned_from_no_window_is_shown_one_as_a_video_of_its_own():
    manifest = {"rows": 3, "policy": policy_record(FrameKeys()), "min_decoded": 0.9, "sources": []}
    for samples, clock in ((3, "own"), (2, "video"), (None, "own")):  # None: of an earlier version
        counted = manifest if samples is None else {**manifest, "samples": samples}
        assert policy_of_dataset(counted, DataKeys()).ask.window_clock == clock


def test_a_window_in_which_nothing_is_told_is_shown_but_not_learned_from(tmp_path, processor):
    video = microworld.render(3, 0, tmp_path, FILM_S)
    rows = [
        {"video": str(video), "id": f"film-{i}", "video_id": f"v{i}",
         "events": [{"start_s": 1, "end_s": 15, "text": "a thing happens here."}]}
        for i in range(2)
    ]  # fmt: skip
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "o"
    prepare(
        PrepareConfig(
            source=SourceKeys(name="jsonl", path=str(tmp_path / "rows.jsonl")),
            frames=FrameKeys(max=4, px=48, window_s=LIMIT_S), out=str(out), workers=1,
        )
    )  # fmt: skip
    for changes in ({}, {"stream": True}):
        sets = load_sets(
            Prepared.open(out), DataKeys(path=str(out), eval_share=0.5, **changes), processor
        )
        windows = len(Prepared.open(out).rows()) // 2
        assert len(sets.train) < windows and len(sets.train) + len(sets.survey.silent) == windows
        assert len(sets.held) == windows and len(sets.evaluation) == len(sets.train)
        assert f"{len(sets.survey.silent)} windows left out" in "".join(
            sets.survey.lines(DataKeys())
        )
        said = predictions_of(
            sets.held,
            ["[00:00 - 00:02] a dog."] * windows,
            [False] * windows,
            DataKeys(window_clock="own"),
        )
        (only,) = said.values()
        assert len(only.events) == windows and only.events[-1].start_s > 50
        assert references_of(sets.held).popitem()[1].events == (
            Event(1, 15, "a thing happens here."),
        )
