"""Answers sampled, scored and paired: the folder, what is left out, what goes on after a kill."""

import json

import pytest
import torch

from data.config import load
from data.errors import UserError
from data.prepared.dataset import Prepared
from data.target import parse_timeline
from tests.helpers.judge import judging
from tests.helpers.runs import train
from train.evaluation.answers import answers
from train.evaluation.config import GenerateKeys
from train.inference.generate import answer, generation_prompt, load_run
from train.preference.config import SampleConfig
from train.preference.pairs import ANSWERS, PAGE, PAIRS, RECORD, read_pairs
from train.preference.sample import sample
from train.run.saved import read_run

SHORT = ["generate.max_new_tokens=12", "data.limit=5", "data.part=learned"]
WORSE = ["makers.dropped=1", "makers.swapped=1", "makers.shifted=1", "makers.repeated=1"]


@pytest.fixture(scope="module")
def run(world, tiny_folder, tmp_path_factory):
    """A tiny run that held out five of the 24 videos."""
    out = tmp_path_factory.mktemp("sampled") / "run"
    train(world, out, "train.steps=2", "data.eval_share=0.2", base=str(tiny_folder))
    return out


def keys(world, run, out, *more):
    given = [f"run={run}", f"data.path={world}", f"out={out}", "margin=0", "samples=3", *SHORT]
    own = {one.split("=")[0] for one in more}
    return load(SampleConfig, [*(g for g in given if g.split("=")[0] not in own), *more])


@pytest.fixture(scope="module")
def told(world, tiny_folder, tmp_path_factory):
    """A tiny run that tells a paragraph: of random words some are right."""
    out = tmp_path_factory.mktemp("told") / "run"
    train(world, out, "train.steps=2", "data.target=paragraph", base=str(tiny_folder))
    return out


@pytest.fixture(scope="module")
def pairs(world, run, tmp_path_factory):
    return sample(keys(world, run, tmp_path_factory.mktemp("pairs") / "z", *WORSE))


def test_every_row_and_maker_is_a_pair_or_counted(world, run, pairs):
    found = {maker: [p for p in pairs.pairs if p.maker == maker] for maker in pairs.record["pairs"]}
    left_out = pairs.record["left_out"]
    for maker in ("sampled", "dropped", "swapped", "shifted", "repeated"):
        out = sum(n for what, n in left_out.items() if what.startswith(f"{maker}:"))
        assert len(found.get(maker, ())) + out == 5
    assert all(pair.margin > 0 for pair in pairs.pairs)
    assert all(pair.chosen != pair.rejected for pair in pairs.pairs)
    held = set((run / "held_out.txt").read_text().split("\n"))
    assert held
    assert not {pair.id for pair in pairs.pairs} & held
    rows = {row["id"]: row for row in Prepared.open(world).rows()}
    for pair in found["dropped"]:
        assert pair.chosen_parts["coverage"] > 0.9
        events, _ = parse_timeline(pair.chosen)
        assert [e.text for e in events] == [e["text"] for e in rows[pair.id]["events"]]


def test_best_and_worst_are_those_that_were_sampled(world, told, tmp_path):
    longer = ["generate.max_new_tokens=40", "generate.temperature=1"]
    pairs = sample(keys(world, told, tmp_path / "z", *longer))
    lines = (pairs.folder / ANSWERS).read_text().splitlines()[1:]
    said = [json.loads(line) for line in lines]
    assert len(said) == 5 * 3
    assert {one["draw"] for one in said} == {0, 1, 2}
    assert len(pairs.pairs) >= 3
    for pair in pairs.pairs:
        own = [one["text"] for one in said if one["id"] == pair.id]
        assert {pair.chosen, pair.rejected} <= set(own)
        assert pair.chosen_parts["text"] > pair.rejected_parts["text"]


def test_what_is_read_is_what_was_written(pairs):
    again = read_pairs(str(pairs.folder))
    assert again == pairs
    assert again.record["dataset"]["sha256"]
    page = (pairs.folder / PAGE).read_text()
    assert page.count('class="pair"') == len(pairs.pairs)
    assert "<script" not in page


def test_a_stopped_run_goes_on_to_the_same_bytes(world, run, pairs, tmp_path):
    begun = tmp_path / "z"
    begun.mkdir()
    lines = (pairs.folder / ANSWERS).read_text().splitlines(keepends=True)
    # killed in the second batch of videos, within a line
    (begun / ANSWERS).write_text("".join(lines[: 1 + 13]) + lines[14][:20])
    sample(keys(world, run, begun, *WORSE))
    for name in (PAIRS, RECORD):
        assert (begun / name).read_bytes() == (pairs.folder / name).read_bytes()


def test_several_answers_share_the_frames_of_a_prompt(world, run):
    saved = read_run(str(run))
    model, processor = load_run(saved, "fp32")
    prompts = [generation_prompt(row, processor, saved.data) for row in Prepared.open(world).rows().select(range(2))]  # fmt: skip
    tower = model.get_base_model().model.vision_model
    seen: list[int] = []
    hook = tower.register_forward_hook(lambda _, args, kwargs, out: seen.append(len(out[0])), with_kwargs=True)  # fmt: skip
    once = answer(model, processor, prompts, max_new_tokens=6)
    frames = sum(seen)
    seen.clear()
    thrice = answer(model, processor, prompts, max_new_tokens=6, draws=3)
    hook.remove()
    assert sum(seen) == frames == sum(len(p["frames"]) for p in prompts)
    assert thrice == [one for one in once for _ in range(3)]
    torch.manual_seed(0)
    drawn = answer(model, processor, prompts, max_new_tokens=6, temperature=1.0, draws=3)
    assert len({one.text for one in drawn[:3]}) > 1


def test_answers_of_one_draw_are_not_those_of_another(world, run, tmp_path):
    saved, rows = read_run(str(run)), Prepared.open(world).rows().select(range(2))
    how = GenerateKeys(max_new_tokens=4, temperature=1.0)
    said = answers(saved, rows, how, tmp_path / "a", dtype="fp32", overwrite=False, draws=2)
    assert [one.id for one in said] == [name for name in rows["id"] for _ in range(2)]
    with pytest.raises(UserError, match=r"answers made otherwise \(generate differs\)"):
        answers(saved, rows, how, tmp_path / "a", dtype="fp32", overwrite=False)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["makers.sampled=0"], r"makers\.\*: all are 0"),
        (["reward.judge=1"], r"reward\.judge: which judge"),
        (["judge.model=x"], r"judge\.model: what it thinks has no weight"),
        (["data.path=hf://datasets/me/clips"], "out: missing; nothing can be written beside hf://"),
        (["makers.sampled=0", "makers.dropped=1", "samples=8"], "samples: no answer is sampled"),
        (["samples=1"], "samples: input should be"),
        (["generate.temperature=0"], r"generate\.temperature: input"),
    ],
)
def test_keys_that_make_no_pairs_are_refused(argv, said):
    with pytest.raises(UserError, match=said):
        given = {one.split("=")[0] for one in argv}
        load(SampleConfig, [*(k for k in ("run=x", "data.path=y") if k[:-2] not in given), *argv])


def test_no_pair_left_says_why(world, told, tmp_path):
    how = ["margin=0.99", "generate.max_new_tokens=40"]
    with pytest.raises(
        UserError, match=r"no pair is left of 5 rows \(.* × sampled: .*margin=0\.99"
    ):
        sample(keys(world, told, tmp_path / "z", *how))
    with pytest.raises(UserError, match="not finished; the same command continues"):
        read_pairs(str(tmp_path / "z"))


def test_a_folder_with_pairs_is_not_replaced_unasked(world, run, pairs):
    with pytest.raises(UserError, match="holds pairs; choose another out"):
        sample(keys(world, run, pairs.folder))


def test_a_folder_that_is_none_of_ours_is_refused(tmp_path):
    with pytest.raises(UserError, match="no pairs there"):
        read_pairs(str(tmp_path))
    (tmp_path / RECORD).write_text('{"version": 0}')
    with pytest.raises(UserError, match="made by another version"):
        read_pairs(str(tmp_path))
    (tmp_path / RECORD).write_text('{"version": 1}')
    (tmp_path / PAIRS).write_bytes(b"PAR1")
    with pytest.raises(UserError, match="cannot be read"):
        read_pairs(str(tmp_path))


def test_a_judge_has_its_part(world, run, tmp_path):
    pytest.importorskip("openai")
    with judging() as bench:
        judge = [
            "judge.model=wise",
            f"judge.base_url={bench.url}",
            f"judge.cache={tmp_path}/judge.jsonl",
        ]
        makers = ["makers.sampled=0", "makers.dropped=1", "reward.judge=1"]
        asked = [k for k in SHORT if not k.startswith("generate")]
        argv = [f"run={run}", f"data.path={world}", f"out={tmp_path / 'z'}", "margin=0", *asked]
        found = sample(load(SampleConfig, [*argv, *judge, *makers]))
    assert bench.asked
    for pair in found.pairs:
        # of the reference itself all is entailed; of that with scenes left out not all is told
        assert pair.chosen_parts["judge"] == pytest.approx(1)
        assert pair.rejected_parts["judge"] < 1
