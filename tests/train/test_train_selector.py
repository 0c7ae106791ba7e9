"""Training a selector: rendered videos, subsets judged by a describer, reinforcement, events; what is resumed."""

import json
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data.config import load
from data.errors import UserError
from data.offline.prepare import prepare
from data.selection.config import FrameKeys
from data.selection.learned import selector
from data.selection.learned.features import NUM_TOLD
from data.selection.learned.network import SelectorNet, network_of
from data.selection.learned.ticks import Ticks
from data.selection.learned.values import RATES, cumulative_hazard, worth_of
from data.selection.policies.allocate import allocate
from data.selection.policies.dispatch import check_policy
from data.selection.windows import choose_windows
from tests.helpers.runs import train
from train.demo.world import world_keys
from train.selector import boundaries, command, fit
from train.selector.boundaries import RenderedBatches, boundary_loss
from train.selector.command import train_selector
from train.selector.config import SelectorConfig
from train.selector.events import targets_of
from train.selector.joins import KINDS, covered, join
from train.selector.margin import NEVER, Compared, margin_of
from train.selector.pool import PoolVideo
from train.selector.rendered import rendered, roll
from train.selector.subsets import changed, drawn
from train.selector.takes import BLACK
from train.selector.values import plackett_luce, told_of, values_of_subsets
from train.selector.varied import varied


def keys(*argv):
    return load(SelectorConfig, list(argv))


# --- rendered videos ---------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(8))
def test_rendered_videos_are_cut_where_their_labels_say(number):
    source = roll(0, number)
    video = rendered(np.random.default_rng(number), source, 200)
    assert video.small.shape == (200, 3, 9, 16) and video.small.dtype == np.uint8
    assert (np.diff(video.times_s) > 0).all()
    assert video.first[0] == 0 and ((video.first >= 0) & (video.first <= 1)).all()
    assert not (video.first[video.within > 0] > 0).any()
    middle = video.middle()
    assert ((middle > 0) <= (video.within > 0)).all() and middle.max() <= 1


@pytest.mark.parametrize("kind", KINDS[1:])
def test_a_join_goes_from_the_old_shot_to_the_new(kind):
    rng = np.random.default_rng(0)
    old = np.broadcast_to(BLACK + 20, (50, 3, 9, 16)).astype(np.float32)
    new = np.broadcast_to(BLACK + 150, (50, 3, 9, 16)).astype(np.float32)
    for _ in range(10):
        between = join(rng, old, new, kind)
        assert between.shape == old.shape
        first, last = (np.abs(between[i] - shot[i]).mean() for i, shot in ((0, old), (-1, new)))
        assert first < 20 and last < 20


@given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 5))
def test_a_wipe_covers_more_and_more(a, b, style):
    low, high = sorted((a, b))
    assert (covered(low, style) <= covered(high, style) + 1e-6).all()
    assert covered(0, style).max() <= 0 and covered(1, style).min() >= 1 - 1e-6


def test_the_same_number_is_the_same_batch():
    a, b = (RenderedBatches(3, 2, 64)[5] for _ in range(2))
    assert torch.equal(a.pictures, b.pictures) and torch.equal(a.labels, b.labels)
    assert not torch.equal(a.pictures, RenderedBatches(4, 2, 64)[5].pictures)


@pytest.mark.slow
def test_training_learns_and_a_killed_run_ends_as_one_that_was_not(tmp_path, monkeypatch):
    monkeypatch.setattr(boundaries, "AT_A_TIME", 3)  # fewer rolls to make
    argv = ["steps=60", "batch=4", "length=96", "save_every=20", "workers=0"]
    train_selector(keys(f"out={tmp_path / 'whole'}", *argv))
    rows = [json.loads(line) for line in (tmp_path / "whole/metrics.jsonl").open()]
    assert [row["step"] for row in rows] == [20, 40, 60]
    unseen = RenderedBatches(9, 8, 96)[0]
    torch.manual_seed(0)
    before, after = SelectorNet(), network_of(selector.read(str(tmp_path / "whole")))
    with torch.inference_mode():
        losses = [float(boundary_loss(n.boundaries, unseen)) for n in (before, after)]
    assert losses[1] < 0.8 * losses[0]

    real = fit.nn.utils.clip_grad_norm_
    calls = iter(range(100))

    def killed(*given):
        if next(calls) == 45:
            raise KeyboardInterrupt
        return real(*given)

    monkeypatch.setattr(fit.nn.utils, "clip_grad_norm_", killed)
    with pytest.raises(KeyboardInterrupt):
        train_selector(keys(f"out={tmp_path / 'killed'}", *argv))
    monkeypatch.setattr(fit.nn.utils, "clip_grad_norm_", real)
    with pytest.raises(UserError, match="run with other keys"):
        train_selector(keys(f"out={tmp_path / 'killed'}", *argv, "seed=1"))
    train_selector(keys(f"out={tmp_path / 'killed'}", *argv))
    weights = [(tmp_path / n / "selector.safetensors").read_bytes() for n in ("whole", "killed")]
    assert weights[0] == weights[1]
    assert not (tmp_path / "killed/checkpoint.pt").exists()
    with pytest.raises(UserError, match="holds a finished selector"):
        train_selector(keys(f"out={tmp_path / 'whole'}", *argv))


# --- values and events -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A dataset of busy videos and a run on it."""
    place = tmp_path_factory.mktemp("values")
    prepare(world_keys(place / "videos", place / "world", limit=16, frames=6, busy=True))
    train(place / "world", place / "run")
    return place


def learned(place, objective, out, *argv):
    given = [
        f"objective={objective}",
        f"data.path={place / 'world'}",
        f"out={place / out}",
        "batch=4",
    ]
    run = [] if objective == "events" else [f"adapter={place / 'run'}", "pool=8", "budgets=2,3"]
    train_selector(keys(*given, *run, *argv))
    selector.read.cache_clear()
    return selector.read(str(place / out))


@pytest.mark.parametrize(
    ("objective", "part", "argv"),
    [
        pytest.param("rank", "values", ["steps=12", "subsets=6"], marks=pytest.mark.slow),
        pytest.param("reinforce", "values", ["steps=4"], marks=pytest.mark.slow),
        ("events", "events", ["steps=20"]),
    ],
)
def test_a_part_is_learned_and_chooses(place, objective, part, argv):
    found = learned(place, objective, objective, *argv)
    assert found.parts == ("boundaries", part)
    told = found.record["parts"][part]
    assert np.isfinite(told["loss"]) and "data" not in told and str(place) not in str(told)
    methods = ["proposals"] if part == "events" else ["allocate", "topn"]
    for method in methods:
        given = FrameKeys(policy="learned", selector=found.name, method=method, max=5, px=48)
        (chosen,) = choose_windows(str(next((place / "videos").glob("*.mp4"))), check_policy(given))
        assert 1 <= len(chosen) <= 5 and sorted(chosen.ranks) == list(range(len(chosen)))
    other = "values" if part == "events" else "events"
    wrong = FrameKeys(
        policy="learned", selector=found.name, method="topn" if part == "events" else "proposals"
    )
    with pytest.raises(UserError, match=f"not trained for {other}"):
        check_policy(wrong)


@pytest.mark.slow
def test_judged_subsets_are_kept_by_a_run_that_is_killed(place, monkeypatch):
    monkeypatch.setattr(command, "fit", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        learned(place, "rank", "again", "steps=3", "subsets=4")
    lines = (place / "again/losses.jsonl").read_text().splitlines()
    monkeypatch.undo()
    kept = "\n".join(lines[:-1]) + "\n" + lines[-1][:40]  # the last line was cut off
    (place / "again/losses.jsonl").write_text(kept)
    seen = []
    real = command.Describer.losses
    monkeypatch.setattr(
        command.Describer,
        "losses",
        lambda self, cases, *more: (
            seen.extend(case.row["id"] for case in cases) or real(self, cases, *more)
        ),
    )
    learned(place, "rank", "again", "steps=3", "subsets=4")
    assert seen[0] == json.loads(lines[-1])["id"]  # then those for validation, told by both choices
    every = [json.loads(line)["id"] for line in lines]
    assert set(seen) == {every[-1], *every[:: command.TENTH]}


def test_the_loss_of_all_frames_is_the_trainers(place):
    """The describer's loss of a video, with cached features, is what training reports of it."""
    from data.prepared.dataset import Prepared
    from train.inference.answer_loss import Case, Describer
    from train.run.saved import read_run

    describer = Describer.load(read_run(place / "run"))
    row = Prepared.open(place / "world").rows()[0]
    jpegs = tuple(frame["bytes"] for frame in row.pop("frames"))
    every = tuple(range(len(jpegs)))
    (loss,) = describer.losses([Case(row, describer.features(jpegs), every)])

    from train.batches.collate import collate
    from train.batches.dataset import to_sample
    from train.batches.frames import frame_size_px, normalise

    full = {**row, "frames": [{"bytes": j} for j in jpegs]}
    size_px = frame_size_px(describer.processor)
    sample = to_sample(full, describer.processor, describer.keys, size_px)
    batch = collate([sample], describer.processor.tokenizer.pad_token_id)
    with torch.inference_mode():
        stock = describer.model(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            pixel_values=normalise(batch["frames"], describer.processor).unsqueeze(0),
            labels=batch["labels"],
        ).loss
    assert float(loss) == pytest.approx(float(stock), abs=1e-5)


@settings(max_examples=60)
@given(st.integers(1, 30), st.data())
def test_subsets_are_frames_in_order_each_once(count, data):
    size = data.draw(st.integers(1, count))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    for subset in (one := drawn(rng, count, size), changed(rng, count, one)):
        assert list(subset) == sorted(set(subset)) and subset[0] >= 0 and subset[-1] < count
        assert len(subset) == len(one) <= size


def test_plackett_luce_sums_to_one():
    from itertools import permutations

    logits = torch.tensor([0.3, -1.0, 2.0, 0.0])
    total = sum(
        float(plackett_luce(logits, torch.tensor(order)).exp())
        for order in permutations(range(4), 2)
    )
    assert total == pytest.approx(1)


def four_ticks(**row):
    """A video of four ticks, a second apart, with a cut in the middle; every tick is in the pool."""
    pictures = np.random.default_rng(0).integers(0, 256, (4, 432), np.uint8)
    ticks = Ticks(np.arange(4), np.arange(4.0), pictures, np.zeros((4, NUM_TOLD), np.float32))
    shots = np.array([0.0, 0.0, 50.0, 50.0])
    return PoolVideo({"start_s": 0.0, "events": [], **row}, (), ticks, np.arange(4), shots)


def test_a_subset_is_worth_what_is_new_in_it():
    subsets = [(0, 1), (1, 2), (0, 1, 2, 3), (3,)]
    for number, rate in (
        (-50.0, RATES[0]),
        (50.0, RATES[1]),
    ):  # little changes within shots, or much
        numbers = torch.tensor([[50.0, number, 0.0]] * 4)  # each frame worth 1
        values = values_of_subsets(numbers, four_ticks(), subsets)
        more = 1 - np.exp(-rate)  # of a second frame, a second later
        assert values.tolist() == pytest.approx([1 + more, 2, 2 + 2 * more, 1], 1e-5)


def test_the_policy_adds_up_what_was_learned():
    """`allocate` chooses the subset of the highest value, as training sees values."""
    torch.manual_seed(0)
    for _ in range(10):
        numbers = 2 * torch.randn(4, 3)
        video = four_ticks()
        hazard = np.asarray(cumulative_hazard(numbers, torch.from_numpy(video.ticks.times_s)))
        cuts = np.array([0.0, 1 - 1e-9, 0.0, 0.0])
        chosen, _ = allocate(
            cuts,
            np.arange(4) * 100.0,  # far from the cut: no frame is blurred
            np.arange(4),
            2,
            background=hazard,
            worth=numbers[:, 0].sigmoid().numpy(),
        )
        pairs = list(combinations(range(4), 2))
        values = values_of_subsets(numbers, video, pairs)
        best = float(values.max())
        assert float(values[pairs.index(tuple(chosen.tolist()))]) == pytest.approx(best, abs=0.02)


@settings(max_examples=60)
@given(st.integers(0, 10_000))
def test_the_policy_values_a_choice_as_training_does(seed):
    rng = np.random.default_rng(seed)
    numbers, video = torch.from_numpy(rng.normal(size=(4, 3)).astype(np.float32)), four_ticks()
    within = np.asarray(cumulative_hazard(numbers, torch.from_numpy(video.ticks.times_s)))
    subset = sorted(rng.choice(4, int(rng.integers(1, 5)), replace=False).tolist())
    values = numbers[:, 0].sigmoid().numpy()
    own = worth_of(values[subset], (video.shots + within)[subset])
    assert own == pytest.approx(float(values_of_subsets(numbers, video, [tuple(subset)])), abs=1e-5)


# --- the margin --------------------------------------------------------------------------------


def compared(gains, rule, learned):
    return Compared(*(np.array(a, float)[:, None] for a in (gains, rule, learned)))


def test_values_that_do_not_help_never_choose():
    rng = np.random.default_rng(0)
    gains, rule = rng.uniform(0, 0.3, 200), rng.uniform(0.2, 0.6, 200)
    assert margin_of(compared(gains, rule, rule + 0.03)) == NEVER
    assert margin_of(compared(gains, rule, rule + rng.normal(0, 0.1, 200))) == NEVER  # noise


def test_values_that_help_where_they_are_sure_choose_there():
    rng = np.random.default_rng(0)
    gains, rule = rng.uniform(0, 0.3, 400), rng.uniform(0.2, 0.6, 400)
    learned = rule + np.where(gains > 0.2, -0.1, 0.05)
    found = margin_of(compared(gains, rule, learned))
    assert found == pytest.approx(0.2, abs=0.03)
    assert margin_of(compared(gains, rule, rule - 0.05)) < 0.1


@settings(max_examples=100)
@given(st.integers(0, 10_000))
def test_a_margin_is_not_worse_than_the_rule_alone(seed):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 30))
    one = compared(rng.normal(0.1, 0.1, count), *rng.uniform(0, 1, (2, count)))
    margin = margin_of(one)
    assert 0 <= margin <= NEVER
    assert one.losses(margin).mean() <= one.rule.mean() + 1e-9


@pytest.mark.slow
def test_a_policy_takes_the_learned_choice_only_beyond_the_margin(place):
    found = learned(place, "rank", "margin", "steps=12", "subsets=6")
    part = found.record["parts"]["values"]
    assert {"margin", "loss_scene", "loss_learned", "loss_with_margin", "learned_share"} <= set(
        part
    )
    assert part["loss_with_margin"] <= part["loss_scene"] + 1e-6
    assert part["margin"] == pytest.approx(float(found.tensors["values.margin"]), abs=1e-6)
    paths = sorted(map(str, (place / "videos").glob("*.mp4")))
    for margin in (-1.0, NEVER):
        tensors = {**found.tensors, "values.margin": np.array(margin, np.float32)}
        folder = place / f"margin{margin}"
        selector.write(folder, tensors, found.record["parts"], {})
        keys = check_policy(FrameKeys(policy="learned", selector=str(folder), max=5, px=48))
        for path in paths:
            (chosen,) = choose_windows(path, keys)
            if margin == NEVER:  # to the frame what scene chooses
                (rule,) = choose_windows(path, FrameKeys(max=5, px=48))
                assert (chosen.times_s, chosen.ranks) == (rule.times_s, rule.ranks)
            else:
                assert set(chosen.reasons) == {"value"}


def test_what_is_told_is_what_events_cover():
    events = [{"start_s": 1.0, "end_s": 2.5, "text": "x"}]
    assert told_of(four_ticks(events=events)).tolist() == [0, 1, 1, 0]
    assert told_of(four_ticks(events=events, start_s=1.5)).tolist() == [1, 1, 0, 0]


def test_an_event_is_proposed_from_its_middle_only():
    """A tick near its end would propose a part of it, beside the whole."""
    events = [
        {"start_s": 0.0, "end_s": 3.0, "text": "x"},
        {"start_s": 2.9, "end_s": 3.1, "text": "y"},
    ]
    targets = targets_of(four_ticks(events=events))
    assert targets.score.tolist() == [0, 1, 1, 1]  # at 0, 1, 2 and 3 s
    assert np.exp(targets.ends[1]).tolist() == pytest.approx([1, 2])
    assert np.exp(targets.ends[3]).tolist() == pytest.approx([0.1, 0.1])  # the shorter of two


def test_a_variant_shows_the_same_in_other_colours():
    video = four_ticks()
    rng = np.random.default_rng(0)
    seen = [varied(video, rng) for _ in range(8)]
    for one in seen:
        assert one.ticks.pictures.shape == (4, 432) and one.ticks.pictures.dtype == np.uint8
        assert one.ticks.told is video.ticks.told and one.row is video.row
    assert len({one.ticks.pictures.tobytes() for one in seen}) == 8
    grey = replace(video, ticks=replace(video.ticks, pictures=np.full((4, 432), 128, np.uint8)))
    chroma = varied(grey, rng).ticks.pictures.reshape(4, 3, 9, 16)[:, 1:]
    assert (chroma == 128).all()  # what has no colour gets none


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["objective=rank", "out=x"], "needs data.path"),
        (["objective=rank", "data.path=y", "out=x"], "needs adapter"),
        (["budgets=4,99", "out=x"], "each is to be 1 to pool=24"),
    ],
)
def test_bad_keys_are_refused_in_one_line(argv, line):
    with pytest.raises(UserError, match=line):
        keys(*argv)
