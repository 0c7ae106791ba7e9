"""A selector: what its network is told, that blocks change nothing, and which folders are refused."""

import json
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import UserError
from data.selection.config import FrameKeys
from data.selection.learned import boundaries, selector
from data.selection.learned.boundaries import (
    boundary_logits,
    boundary_probabilities,
    changes_of,
    learned_changes,
)
from data.selection.learned.features import NUM_FEATURES, frame_features
from data.selection.learned.network import network_of, tensors_of
from data.selection.policies.dispatch import check_policy, select
from tests.helpers.random_selector import needs, random_net
from tests.helpers.signals import signals_of
from tests.helpers.videos import every


def weights_of(network):
    return {n: t.detach().numpy() for n, t in network.boundaries.state_dict().items()}


def pictures_of(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 3, 9, 16), dtype=np.uint8)


@pytest.mark.parametrize("count", [1, 2, 33, 200])
@pytest.mark.parametrize("level", [None, 0, 255])
def test_features_are_finite_and_small(count, level):
    small = pictures_of(count) if level is None else np.full((count, 3, 9, 16), level, np.uint8)
    features = frame_features(small, np.asarray(every(0.04, count)))
    assert features.shape == (count, NUM_FEATURES) and features.dtype == np.float32
    assert np.isfinite(features).all() and np.abs(features).max() < 8


def test_numpy_computes_what_torch_computes():
    small, times_s = pictures_of(300), np.asarray(every(0.04, 300))
    network, features = random_net(), frame_features(small, times_s)
    with torch.inference_mode():
        seen = torch.from_numpy(small.reshape(300, -1))[None]
        expected = network.boundaries(torch.from_numpy(features)[None], seen)[0].numpy()
    found = boundary_logits(weights_of(network), features, small.reshape(300, -1))
    np.testing.assert_allclose(found, expected, atol=2e-4, rtol=1e-4)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 700), st.integers(150, 300))
def test_blocks_change_nothing(count, block):
    small, times_s = pictures_of(count, seed=count), np.asarray(every(0.04, count))
    weights = weights_of(random_net())
    whole = boundary_probabilities(weights, small, times_s)
    kept, boundaries.BLOCK = boundaries.BLOCK, block
    try:
        np.testing.assert_allclose(
            boundary_probabilities(weights, small, times_s), whole, atol=1e-5
        )
    finally:
        boundaries.BLOCK = kept


def test_a_video_of_100_000_frames_takes_bounded_memory():
    small = np.zeros((100_000, 3, 9, 16), np.uint8)
    times_s = np.arange(100_000) / 60
    tracemalloc.start()
    found = boundary_probabilities(weights_of(random_net()), small, times_s)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.shape == (100_000, 3)
    assert peak < 40 * 2**20


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 80), st.integers(0, 2**31))
def test_changes_lie_in_the_video(count, seed):
    probabilities = np.random.default_rng(seed).random((count, 3)) ** 2
    for change in changes_of(probabilities.astype(np.float32)):
        assert 0 <= change.last < change.first < count
        assert 0 < change.ratio <= 1


def test_key_frames_alone_have_no_boundaries():
    signals = signals_of(every(0.04, 50), cuts_s=[1.0])
    assert learned_changes(weights_of(random_net()), replace(signals, sparse=True), 0.3) == []


@pytest.fixture
def saved(tmp_path):
    selector.read.cache_clear()
    selector.write(
        tmp_path / "one", tensors_of(random_net()), {"boundaries": {"steps": 3}}, {"made_by": "me"}
    )
    return tmp_path / "one"


def test_what_is_written_is_read(saved):
    read = selector.read(str(saved))
    assert read.parts == ("boundaries",) and read.record["made_by"] == "me"
    for name, tensor in random_net().boundaries.state_dict().items():
        assert torch.equal(network_of(read).boundaries.state_dict()[name], tensor)
    assert len(read.sha256) == 64
    assert {p.name for p in saved.iterdir()} == {"selector.safetensors", "selector.json"}


def test_bad_folders_are_refused_in_one_line(saved):
    def refused(match):
        selector.read.cache_clear()
        with pytest.raises(UserError, match=match) as caught:
            selector.read(str(saved))
        assert "\n" not in str(caught.value)

    record = (saved / selector.RECORD).read_text()
    weights = (saved / selector.WEIGHTS).read_bytes()
    (saved / selector.RECORD).write_text(json.dumps(json.loads(record) | {"signals": 0}))
    refused("signals of version 0, this is version 1; train it again")
    (saved / selector.RECORD).write_text("{")
    refused("selector.json is damaged")
    (saved / selector.RECORD).write_text("[]")
    refused("selector.json is damaged")
    (saved / selector.RECORD).write_text(record)
    (saved / selector.WEIGHTS).write_bytes(weights[:1000])
    refused("selector.safetensors holds no selector")
    (saved / selector.WEIGHTS).write_bytes(b"0" * (9 * 2**20))
    refused("selector.safetensors holds no selector")
    broken = random_net()
    broken.boundaries.norm.weight.data[3] = float("nan")
    selector.write(saved, tensors_of(broken), {"boundaries": {}}, {})
    refused("boundaries.norm.weight is not finite")
    (saved / selector.WEIGHTS).unlink()
    torch.save({"x": torch.zeros(1)}, saved / "pytorch_model.bin")  # a pickle: never read
    refused("no selector.safetensors in it")


def test_a_selector_that_is_nowhere_is_refused(tmp_path):
    keys = FrameKeys(boundaries="learned", selector=str(tmp_path / "none"))
    with pytest.raises(UserError, match=r"frames\.selector=.*no such folder"):
        check_policy(keys)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["allocate", "topn", "proposals"])
def test_a_long_video_takes_bounded_memory(method):
    count = 100_000
    pictures = np.repeat(pictures_of(1000), 100, axis=0)
    signals = replace(
        signals_of(every(0.04, 10)),
        **{n: np.ones(count) for n in ("luma", "contrast", "sharpness", "clearness", "change")},
        times_s=np.arange(count) / 60,
        small=pictures,
        key=np.zeros(count, bool),
        candidates=np.arange(0, count, 200),
        shown_s=count / 60,
        duration_s=count / 60,
    )
    keys = FrameKeys(policy="learned", method=method, max=32, **needs("learned"))
    tracemalloc.start()
    chosen = select(signals, keys)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 1 <= len(chosen.times_s) <= 32
    assert peak < 700 * 2**20
