"""Whether a row's times fit the changes of its pictures."""

import io
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from data.curation.times import fit_of

CUTS_S = (3.2, 7.4, 9.1)
START_S, END_S = 100.0, 112.0
"""Of a window of a longer video."""


def picture(scene: int) -> bytes:
    blocks = np.random.default_rng(scene).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(blocks).resize((64, 64), Image.Resampling.NEAREST).save(buffer, "JPEG")
    return buffer.getvalue()


PICTURES = [picture(scene) for scene in range(len(CUTS_S) + 1)]


TIMES_S = np.arange(0.25, 12, 0.5)


def row(events, times_s=TIMES_S):
    scenes = np.searchsorted(CUTS_S, times_s, side="right")
    return {
        "start_s": START_S,
        "end_s": END_S,
        "times_s": [START_S + t for t in times_s],
        "frames": [{"bytes": PICTURES[scene]} for scene in scenes],
        "reasons": ["shot"] * len(scenes),
        "events": [{"start_s": START_S + a, "end_s": START_S + b, "text": "x"} for a, b in events],
    }


def scenes(step_s=0.0):
    ends_s = [0.0, *CUTS_S, END_S - START_S]
    return [(a + step_s, b + step_s) for a, b in pairwise(ends_s)]


def test_events_that_begin_and_end_where_pictures_change_fit():
    assert fit_of(row(scenes())) > 0.15
    assert fit_of(row(scenes(1.0))) < 0.02
    assert fit_of(row([(0, 12), *scenes()])) == fit_of(row(scenes()))  # that begins at no change


def test_an_event_that_begins_at_a_frame_is_seen_in_it():
    times_s = (0.0, CUTS_S[0], 6.0)
    assert fit_of(row([(0, CUTS_S[0]), (CUTS_S[0], 12)], times_s)) > 0.3


@pytest.mark.parametrize("events", [[], [(0, 12)], [(-3, 15)]])
def test_times_of_which_none_is_within_say_nothing(events):
    assert fit_of(row(events)) is None
    assert fit_of(row(scenes(), times_s=(5.0,))) is None


@given(st.lists(st.tuples(st.floats(0, 12), st.floats(0, 12)), max_size=5))
def test_a_fit_is_within_bounds(events):
    found = fit_of(row([(min(e), max(e)) for e in events]))
    assert found is None or -1 <= found <= 1


def test_quarters_and_grids_are_no_change():
    whole, added = row(scenes()), {"bytes": picture(9)}
    more = {
        **whole,
        "frames": [f for frame in whole["frames"] for f in (frame, added)],
        "reasons": [r for _ in whole["frames"] for r in ("shot", "upper left")],
        "times_s": np.repeat(whole["times_s"], 2).tolist(),
    }
    assert fit_of(more) == fit_of(whole)


def test_frames_of_one_picture_fit_nothing():
    still = {**row(scenes()), "frames": [{"bytes": PICTURES[0]}] * 24}
    assert fit_of(still) == pytest.approx(0, abs=0.03)
