from itertools import pairwise
from pathlib import Path

import numpy as np

from data.sources import microworld
from data.sources.config import SourceKeys
from data.video.probe import probe
from tests.helpers.videos import pictures


def test_stories_are_uneven_and_deterministic():
    stories = [microworld.story(1, i) for i in range(200)]
    assert (
        stories
        == [microworld.story(1, i) for i in range(200)]
        != [microworld.story(2, i) for i in range(200)]
    )
    scenes = [scene for story in stories for scene in story]
    short = np.mean([scene.num_frames <= microworld.FPS for scene in scenes])
    assert 0.2 < short < 0.4 and min(s.num_frames for s in scenes) >= 4
    assert all(2 <= len(s) <= 5 and 60 <= sum(x.num_frames for x in s) <= 200 for s in stories)
    assert all(a.background != b.background for s in stories for a, b in pairwise(s))


def test_rendered_video_shows_its_labels(tmp_path):
    (sample,) = microworld.read(SourceKeys(name="microworld", path=str(tmp_path), limit=1, seed=3))
    info = probe(sample.video.path)
    frames = pictures(info, 96)
    for event, scene in zip(sample.events, microworld.story(3, 0), strict=True):
        inside = [f for f in frames if event.start_s <= f.time_s < event.end_s]
        assert len(inside) == scene.num_frames
        corner = np.mean([f.rgb[:8, :8].mean(axis=(0, 1)) for f in inside], axis=0)
        assert np.abs(corner - microworld.BACKGROUNDS[scene.background]).max() < 25
        assert microworld.facts(event.text) == (scene.colour, scene.shape, scene.background)
    (tmp_path / "again").mkdir()
    again = microworld.render(3, 0, tmp_path / "again")
    assert again.read_bytes() == Path(sample.video.path).read_bytes()


def test_facts_of_other_texts():
    assert microworld.facts("nothing of the kind") is None
    assert microworld.facts("a red circle on a pink background") == ("red", "circle", "pink")
