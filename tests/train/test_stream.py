"""A dataset read while it is trained on: the same samples, each once, in an order that can go on."""

import json
from collections import Counter
from itertools import pairwise
from types import SimpleNamespace

import pytest
from accelerate.data_loader import BatchSamplerShard, SkipBatchSampler
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import BatchSampler
from transformers import TrainerState

from data.prepared.dataset import Prepared
from tests.helpers.videos import run_command
from train.batches.dataset import load_sets
from train.batches.stream import Groups, Pictures, ShardShuffleSampler, read_texts
from train.loop.callbacks import RestoreSamplerEpoch
from train.sections import DataKeys


def order(groups, epoch=0, **keys):
    blocks = ShardShuffleSampler(
        groups, **{"batch": 1, "lanes": 1, "buffer_rows": 4, "seed": 0, **keys}
    )
    blocks.set_epoch(epoch)
    return list(blocks)


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=60).map(sorted),
    st.integers(1, 4),
    st.integers(1, 5),
    st.integers(1, 30),
)
def test_every_sample_once_whatever_the_shape(groups, batch, lanes, buffer_rows):
    found = order(groups, batch=batch, lanes=lanes, buffer_rows=buffer_rows)
    assert sorted(found) == list(range(len(groups)))
    assert found == order(groups, batch=batch, lanes=lanes, buffer_rows=buffer_rows)


def test_each_row_group_is_read_by_one_lane_and_once():
    groups = [i // 8 for i in range(800)]
    found = order(groups, batch=2, lanes=4, buffer_rows=32)
    assert found != order(groups, batch=2, lanes=4, buffer_rows=32, epoch=1)
    assert found != order(groups, batch=2, lanes=4, buffer_rows=32, seed=1)
    seen = {}
    for i in range(0, 800, 2):
        for position in found[i : i + 2]:
            seen.setdefault(groups[position], set()).add(i // 2 % 4)
    assert all(len(lanes) == 1 for lanes in seen.values())
    lane = [p for i in range(0, 800, 8) for p in found[i : i + 2]]
    changes = sum(groups[a] != groups[b] for a, b in pairwise(lane))
    assert changes > 100  # neighbours come from different groups: they are mixed
    cache, loads = [], 0
    for position in lane:  # a cache of five groups never reads one twice
        if groups[position] not in cache:
            cache, loads = [*cache, groups[position]][-5:], loads + 1
    assert loads == len({groups[p] for p in lane})


def test_a_resumed_epoch_on_two_devices_has_its_own_order():
    """accelerate's loader that skips does not pass the epoch on; the callback sets it beforehand."""
    blocks = ShardShuffleSampler(
        [i // 8 for i in range(64)], batch=1, lanes=2, buffer_rows=8, seed=0
    )
    state = TrainerState(global_step=20)
    arguments = SimpleNamespace(gradient_accumulation_steps=2)
    given = {"train_dataloader": range(32)}  # batches of one device in an epoch: 16 steps
    RestoreSamplerEpoch(blocks).on_train_begin(arguments, state, None, **given)
    whole = BatchSamplerShard(BatchSampler(blocks, 1, False), 2, 1)
    resumed = list(SkipBatchSampler(whole, skip_batches=8))
    blocks.set_epoch(1)
    assert resumed == list(whole)[8:]
    blocks.set_epoch(0)
    assert resumed != list(whole)[8:]


@pytest.fixture(scope="module")
def sets(world, processor):
    keys = DataKeys(path=str(world), eval_share=0.2)
    dataset = Prepared.open(world)
    return load_sets(dataset, keys, processor), load_sets(
        dataset, keys.model_copy(update={"stream": True}), processor
    )


def test_the_same_samples_are_streamed(sets):
    plain, streamed = sets
    assert plain.survey == streamed.survey and plain.groups is None
    assert len(streamed.groups) == len(plain.train) == 19 and len(streamed.evaluation) == 5
    for name in ("train", "evaluation"):
        for one, other in zip(getattr(plain, name), getattr(streamed, name), strict=True):
            assert one["id"] == other["id"] and one["input_ids"] == other["input_ids"]
            assert (one["frames"] == other["frames"]).all()


def test_pictures_keep_few_groups(world):
    texts, groups = read_texts(Prepared.open(world), ["id"])
    assert texts["row"] == list(range(24)) and groups.starts == (0, 8, 16)
    pictures = Pictures(groups, keep=1)
    first = pictures.of(0)
    assert pictures.of(23) != first == pictures.of(0) and len(pictures._cache) == 1
    assert Groups((("x", 0), ("x", 1)), (0, 8)).of(7) == 0


def losses(out):
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return {r["step"]: r["loss"] for r in rows if "loss" in r}


@pytest.mark.slow
def test_a_resumed_stream_goes_on_with_the_next_sample(world, tmp_path):
    """Twelve steps at once, and six and six: the same losses, also over the end of an epoch."""

    def train(out, *extra):
        done = run_command(
            "train/sft.py", "model.name=tiny", "train.method=lora", f"data.path={world}", "data.stream=true",
            "data.shuffle_buffer=8", "data.eval_share=0", "train.batch=2", "train.accumulate=2", "train.log_every=1",
            "lora.dropout=0", "train.save_every=6", "optim.schedule=constant", "data.workers=2",
            f"train.output={out}", "train.checkpointing=false", *extra,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]

    train(tmp_path / "whole", "train.steps=12")
    train(tmp_path / "parts", "train.steps=6")
    (tmp_path / "parts" / "run.json").unlink()  # as if it had been stopped
    train(tmp_path / "parts", "train.steps=12", "train.resume=true")
    whole, parts = losses(tmp_path / "whole"), losses(tmp_path / "parts")
    assert Counter(whole) == Counter(parts) and len(whole) == 12
    assert len({round(loss, 3) for loss in whole.values()}) > 6  # other samples would show
    assert parts == pytest.approx(whole, abs=2e-4)
