"""Policies on an encoder's features, with real models of random weights."""

import json

import numpy as np
import pytest

from data.errors import UserError
from data.selection.choose import analyse
from data.selection.config import FrameKeys
from data.selection.known_policies import POLICIES
from data.selection.measure.encoders import load
from data.selection.policies.dispatch import check_policy
from data.selection.policies.embedding import (
    aks,
    bolt,
    facility,
    farthest,
    longvu,
    maxvol,
    neighbour,
    retake,
)
from tests.helpers import encoders
from tests.helpers.videos import every, run_command, write_video


@pytest.fixture(scope="module")
def folders(tmp_path_factory, tiny_folder):
    root = tmp_path_factory.mktemp("encoders")
    return {
        "clip": encoders.clip(root / "clip"),
        "siglip": encoders.siglip(root / "siglip"),
        "dinov2": encoders.dinov2(root / "dinov2"),
        "smolvlm": tiny_folder,
    }


def units(*groups: tuple[int, int]) -> np.ndarray:
    """Feature rows: `(axis, how many)`, each a little beside its axis."""
    rng = np.random.default_rng(0)
    rows = [
        np.eye(8)[axis] + rng.normal(0, 0.02, 8) for axis, count in groups for _ in range(count)
    ]
    features = np.asarray(rows)
    return features / np.linalg.norm(features, axis=1, keepdims=True)


SCENES = units((0, 30), (1, 4), (2, 20), (0, 10))


@pytest.mark.parametrize("method", [farthest, facility, maxvol, neighbour, retake])
def test_three_frames_show_three_scenes(method):
    chosen = method(SCENES, 4)
    scene = [0] * 30 + [1] * 4 + [2] * 20 + [0] * 10
    assert {scene[i] for i in chosen} == {0, 1, 2}


def test_longvu_keeps_the_middle_of_a_still_window_and_what_is_unlike():
    assert longvu(units((0, 16)), 8) == [8]
    kept = longvu(units((0, 14), (1, 2)), 16)
    assert kept == [8, 14, 15]


def test_aks_takes_the_peak_whole_or_spreads():
    flat = np.full(64, 0.2)
    assert max(np.diff(aks(flat, 8))) <= 9  # nothing stands out: over the whole video
    peak = flat.copy()
    peak[30:34] = 1.0
    assert {30, 31, 32, 33} <= set(aks(peak, 4))


def test_bolt_goes_where_the_similarity_is():
    relevance = np.full(100, 0.1)
    relevance[60:70] = 0.9
    chosen = bolt(relevance, 6)
    assert sum(60 <= i < 70 for i in chosen) >= len(chosen) - 1
    assert len(bolt(np.full(10, 0.3), 4)) == 4


@pytest.mark.parametrize("kind", ["clip", "siglip", "dinov2", "smolvlm"])
def test_real_encoders_see_pictures(folders, kind):
    encoder = load(str(folders[kind]))
    pictures = [np.full((40, 60, 3), level, np.uint8) for level in (0, 120, 120, 250)]
    vectors = encoder.images(pictures)
    assert vectors.shape[0] == 4 and np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert np.allclose(vectors[1], vectors[2], atol=1e-5)
    assert not np.allclose(vectors[0], vectors[3], atol=1e-3)


@pytest.mark.parametrize("method", [*POLICIES["embedding"].methods, *POLICIES["query"].methods])
def test_methods_on_a_video(folders, tmp_path, method):
    video = write_video(tmp_path / "a.mp4", every(0.1, 60))
    policy = "query" if method in POLICIES["query"].methods else "embedding"
    keys = FrameKeys(
        policy=policy, method=method, encoder=str(folders["clip"]), query="a dog", max=5
    )
    first, again = (analyse(str(video), keys).selection for _ in range(2))
    assert 1 <= len(first.times_s) <= 5 and first == again


@pytest.mark.slow
def test_prepare_with_an_encoder(folders, tmp_path):
    write_video(tmp_path / "a.mp4", every(0.1, 30))
    (tmp_path / "rows.jsonl").write_text(json.dumps({"video": "a.mp4", "description": "Bars."}))
    common = ["source=jsonl", f"source.path={tmp_path / 'rows.jsonl'}", "workers=1"]
    done = run_command(
        "scripts/prepare.py", *common, f"out={tmp_path / 'out'}",
        "frames.policy=embedding", f"frames.encoder={folders['dinov2']}",
    )  # fmt: skip
    assert done.returncode == 0 and "1 videos prepared, 0 quarantined" in done.stdout, done.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"policy": "embedding", "encoder": "nowhere/at-all"}, "no image encoder in this Hub id"),
        ({"policy": "query", "encoder": "dinov2", "query": "a dog"}, "compares pictures only"),
        ({"policy": "shots", "detector_options": {"binz": 3}}, "knows adaptive_threshold"),
        ({"policy": "shots", "detector_options": {"window_width": 0}}, "detector=adaptive"),
    ],
)
def test_what_would_fail_on_every_video_is_refused_before(folders, options, message):
    keys = FrameKeys(**options)
    if keys.encoder in folders:
        keys = keys.model_copy(update={"encoder": str(folders[keys.encoder])})
    with pytest.raises(UserError, match=message):
        check_policy(keys)
