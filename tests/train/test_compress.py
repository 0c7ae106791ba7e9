"""Picture tokens left out while describing: the likest to the frame before, at the places that the others keep."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data.prepared.dataset import Prepared
from tests.helpers.runs import train
from train.inference.compress import compressed, kept_tokens
from train.inference.generate import answer, generation_prompt, load_run
from train.run.saved import read_run


@pytest.fixture(scope="module")
def run(world, tmp_path_factory):
    out = tmp_path_factory.mktemp("compress") / "run"
    train(world, out, "train.steps=2", method="full")
    return out


@settings(max_examples=80)
@given(st.integers(1, 9), st.integers(1, 9), st.floats(0, 0.999), st.integers(0, 99))
def test_a_share_is_left_out_but_never_a_frame(frames, each, share, seed):
    generator = torch.Generator().manual_seed(seed)
    kept = kept_tokens(torch.randn(frames, each, 5, generator=generator), share)
    assert kept[0].all() and (kept.sum(dim=1) >= 1).all()
    gone = int((~kept).sum())
    assert gone == min(round(share * frames * each), (frames - 1) * (each - 1))


def test_what_stands_still_goes_first():
    torch.manual_seed(0)
    features = torch.randn(1, 4, 8).repeat(3, 1, 1)
    features[2, 1] += torch.randn(8)  # one place changes in the last frame
    kept = kept_tokens(features, 5 / 12)
    assert kept[2, 1] and int((~kept).sum()) == 5
    kept = kept_tokens(features, 0.99)
    assert kept.sum(dim=1).tolist() == [4, 1, 1] and kept[2, 1]


def test_without_a_share_nothing_changes_and_places_are_kept(world, run):
    model, processor = load_run(read_run(run))
    keys = read_run(run).data
    rows = Prepared.open(world).rows()
    prompts = [generation_prompt(rows[i], processor, keys) for i in range(3)]
    whole = answer(model, processor, prompts, max_new_tokens=12)
    features = [torch.randn(len(p["frames"]), 4, 8) for p in prompts]
    same, rest = compressed(prompts, features, processor.image_token_id, 0.0)
    assert [p["input_ids"] for p in same] == [p["input_ids"] for p in prompts]
    assert all(p["position_ids"] == list(range(len(p["input_ids"]))) for p in same)
    assert all(torch.equal(r, f.flatten(0, 1)) for r, f in zip(rest, features, strict=True))
    half, rest = compressed(prompts, features, processor.image_token_id, 0.5)
    for short, full, left in zip(half, prompts, rest, strict=True):
        pictures = [t == processor.image_token_id for t in short["input_ids"]]
        assert sum(pictures) == len(left)
        assert [full["input_ids"][i] for i in short["position_ids"]] == short["input_ids"]
    # a model with places told explicitly, and none left out, says the same
    from unittest.mock import patch

    with patch(
        "train.inference.compress.kept_tokens",
        lambda f, s: torch.ones(f.shape[:2], dtype=torch.bool),
    ):
        told = answer(model, processor, prompts, max_new_tokens=12, compress=0.5)
    assert [t.text for t in told] == [w.text for w in whole]
    less = answer(model, processor, prompts, max_new_tokens=12, compress=0.5)
    assert len(less) == 3


def test_evaluate_and_describe_take_it(world, run, tmp_path):
    from data.config import load
    from train.evaluation.config import EvaluateConfig
    from train.evaluation.evaluate import evaluate

    keys = [f"data.path={world}", f"adapter={run}", "generate.max_new_tokens=8", "report=false"]
    out = tmp_path / "scores"
    evaluate(load(EvaluateConfig, [*keys, f"out={out}", "compress=0.5"]))
    from data.errors import UserError

    with pytest.raises(UserError, match=r"answers made otherwise \(generate differs\)"):
        evaluate(load(EvaluateConfig, [*keys, f"out={out}", "compress=0.25"]))
