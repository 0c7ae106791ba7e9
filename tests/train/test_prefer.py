"""Training on pairs: TRL's own loss, gradients and margins; resume, the reference, what is refused."""

import json
import math
import shutil
from dataclasses import replace
from functools import partial

import pytest
import torch
from safetensors.torch import load_file
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer

from data.config import load
from data.errors import UserError
from data.prepared.dataset import Prepared
from tests.helpers import processes
from tests.helpers.runs import killed_after, rows, train
from train import sft
from train.batches.collate import collate
from train.batches.frames import normalise
from train.batches.trees import collate_trees
from train.config import TrainConfig
from train.hub.card import model_card
from train.memory.estimate import BatchShape, estimate
from train.memory.shapes import shape_of
from train.model import forward
from train.model.load import Precision, load_model, set_trainable
from train.preference.command import prefer
from train.preference.config import PreferConfig, SampleConfig
from train.preference.groups import GroupTrainer
from train.preference.pairs import read_pairs
from train.preference.rewards import Reward
from train.preference.sample import sample
from train.preference.samples import load_pairs, load_prompts
from train.preference.trainer import PairTrainer
from train.run.files import REFERENCE, read_json
from train.run.saved import read_run
from train.sections import DataKeys, LoraKeys, ModelKeys, OptimKeys


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("prefer")


@pytest.fixture(scope="module")
def run(world, tiny_folder, place):
    train(world, place / "run", "train.steps=2", "data.eval_share=0.2", base=str(tiny_folder))
    return place / "run"


@pytest.fixture(scope="module")
def pairs(world, run, place):
    makers = ["makers.sampled=0", "makers.dropped=1", "makers.swapped=0.5", "margin=0"]
    argv = [f"run={run}", f"data.path={world}", f"out={place / 'pairs'}", *makers]
    sample(load(SampleConfig, argv))
    return place / "pairs"


def keys(pairs, name, out, *more):
    argv = [
        f"model.name={name}", f"pairs={pairs}", f"train.output={out}", "train.steps=4", "train.save_every=2",
        "train.log_every=1", "data.eval_share=0.2", "data.workers=0", "optim.lr=1e-3", "train.batch=2",
        "train.accumulate=1",
    ]  # fmt: skip
    given = {one.split("=")[0] for one in more}
    return load(PreferConfig, [*(a for a in argv if a.split("=")[0] not in given), *more])


@pytest.fixture(scope="module")
def preferred(pairs, run, place):
    prefer(keys(pairs, run, place / "dpo"))
    return place / "dpo"


def test_the_better_answers_become_likelier_than_the_worse(preferred, run):
    loss, margin = rows(preferred, "loss"), rows(preferred, "rewards/margins")
    # the reference is the run that it went on from: at first nothing is preferred
    assert loss[1] == pytest.approx(0.6931, abs=1e-4)
    assert margin[1] == pytest.approx(0, abs=1e-5)
    assert margin[4] > 0
    held = rows(preferred, "eval_loss")
    assert held[0] == pytest.approx(0.6931, abs=1e-4)
    assert set(held) == {0, 4} or len(held) >= 2
    record = read_json(preferred / "run.json")
    assert record["went_on_from"][0]["run"] == str(run)
    assert record["prefer"]["method"] == "dpo"
    assert record["prefer"]["made"]["makers"]["dropped"] == 1


def test_the_card_says_how(preferred, run):
    card = model_card(preferred, "me/preferred")
    assert "| after SFT by | DPO on pairs of answers: " in card and " dropped, " in card
    assert "Mean loss of pairs of answers on the held-out videos" in card
    assert "| goes on from | " in card


def test_a_run_is_resumed_by_the_command_that_began_it(preferred, run, place):
    for out, config, said in (
        (
            killed_after(preferred, 2, place / "by-prefer"),
            TrainConfig,
            r"begun by train/prefer\.py",
        ),
        (killed_after(run, 1, place / "by-sft"), PreferConfig, r"begun by train/sft\.py"),
    ):
        command = prefer if config is PreferConfig else sft.main
        with pytest.raises(UserError, match=said):
            command(load(config, ["train.resume=true", f"train.output={out}"]))


def test_the_reference_is_no_part_of_the_result(preferred, run):
    left = {p.name for p in preferred.rglob("*")}
    assert "ref" not in left
    assert REFERENCE not in left
    weights = load_file(preferred / "adapter_model.safetensors")
    assert weights.keys() == load_file(run / "adapter_model.safetensors").keys()
    read_run(preferred)


def noisy(model):
    """An adapter that has learned something, the same each time."""
    draw = torch.Generator().manual_seed(7)
    for name, weights in sorted(model.named_parameters()):
        if ".default." in name:
            weights.data += 0.05 * torch.randn(weights.shape, generator=draw)
    return model


def loss_of(trainer, batch):
    """Loss, margin and gradients of one batch."""
    trainer.model.train()
    loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    grads = {n: p.grad.clone() for n, p in trainer.model.named_parameters() if p.grad is not None}
    return loss.item(), trainer._metrics["train"]["rewards/margins"][-1], grads


@pytest.mark.parametrize("both", [False, True])
def test_loss_margin_and_gradients_are_those_of_trl(
    world, pairs, processor, tiny_folder, tmp_path, both
):
    kinds = {"loss_type": ["sigmoid", "sft"]} if both else {}
    args = DPOConfig(output_dir=str(tmp_path), use_cpu=True, report_to="none", max_length=None, remove_unused_columns=False, gradient_checkpointing=False, **kinds)  # fmt: skip
    sets = load_pairs(Prepared.open(world), DataKeys(eval_share=0), processor, pairs=read_pairs(str(pairs)), best_only=False)  # fmt: skip
    samples = [sets.train[0], sets.train[5]]
    pad = processor.tokenizer.pad_token_id
    seen = []

    def trainer_of(kind):
        base = load_model(ModelKeys(name=str(tiny_folder)), "lora", Precision("cpu", torch.float32))
        base.model.vision_model.register_forward_hook(
            lambda *_: seen.append(kind), with_kwargs=False
        )
        torch.manual_seed(0)
        model = set_trainable(base, "lora", LoraKeys(targets="llm+connector"), OptimKeys())
        made = kind(model=model, args=args, train_dataset=sets.train, processing_class=processor, data_collator=list)  # fmt: skip
        noisy(made.model)
        return base, made

    base, ours = trainer_of(PairTrainer)
    ours.scale, ours.frames_at_once = partial(normalise, processor=processor), 64
    forward.install(base, ours.scale, frames_at_once=64)
    loss, margin, grads = loss_of(ours, collate_trees(samples, pad))

    _, stock = trainer_of(DPOTrainer)
    rows = [(one, one["answer_ids"][n]) for n in range(2) for one in samples]
    whole = [{"id": "", "input_ids": one["prompt_ids"] + said, "labels": [-100] * len(one["prompt_ids"]) + said, "frames": one["frames"]} for one, said in rows]  # fmt: skip
    padded = collate(whole, pad)
    most = max(len(one["frames"]) for one in whole)
    size = whole[0]["frames"].shape[1:]
    pixels = torch.zeros(4, most, *size)
    real = torch.zeros(4, most, *size[1:], dtype=torch.bool)
    for i, one in enumerate(whole):
        pixels[i, : len(one["frames"])] = normalise(one["frames"], processor)
        real[i, : len(one["frames"])] = True
    expected = loss_of(stock, {"input_ids": padded["input_ids"], "attention_mask": padded["attention_mask"], "completion_mask": (padded["labels"] >= 0).long(), "pixel_values": pixels, "pixel_attention_mask": real})  # fmt: skip
    assert margin != 0
    assert loss == pytest.approx(expected[0], rel=1e-5)
    assert margin == pytest.approx(expected[1], rel=1e-5, abs=1e-6)
    assert grads.keys() == expected[2].keys()
    for name, grad in grads.items():
        torch.testing.assert_close(grad, expected[2][name], rtol=1e-4, atol=1e-5)
    assert seen.count(PairTrainer) == 1, "the tower runs once for a batch of pairs"
    assert seen.count(DPOTrainer) == 2, "in TRL twice, each time with every frame twice"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "kind"), [("dpo", "lora"), ("dpo+sft", "full"), ("rft", "lora")]
)
def test_a_resumed_run_ends_as_one_that_was_not_stopped(
    pairs, run, tiny_folder, place, method, kind
):
    base = tiny_folder if kind == "full" else run
    how = [f"prefer.method={method}", f"train.method={kind}", "data.eval_share=0"]
    whole, again = place / f"whole-{method}", place / f"again-{method}"
    prefer(keys(pairs, base, whole, *how))
    cut = [*how, "train.keep_checkpoints=9"]
    prefer(keys(pairs, base, again, *cut, "train.steps=4"))
    stopped = killed_after(again, 2, place / f"stopped-{method}")
    if method != "rft":  # a kill leaves what the run began with
        begun = load_model(ModelKeys(name=str(base)), "lora", Precision("cpu", torch.float32)) if kind == "full" else None  # fmt: skip
        (stopped / REFERENCE).mkdir()
        if begun is not None:
            begun.save_pretrained(stopped / REFERENCE)
        else:
            shutil.copy(run / "adapter_model.safetensors", stopped / REFERENCE)
    prefer(load(PreferConfig, ["train.resume=true", f"train.output={stopped}"]))
    assert rows(stopped, "loss") == pytest.approx(rows(whole, "loss"), rel=1e-6)
    name = "model.safetensors" if kind == "full" else "adapter_model.safetensors"
    for one, other in zip(load_file(stopped / name).values(), load_file(whole / name).values(), strict=True):  # fmt: skip
        torch.testing.assert_close(one, other)
    assert not (stopped / REFERENCE).exists()


@pytest.mark.slow
def test_two_processes_have_the_losses_of_one(world, pairs, run, place, server):
    one, two = (
        processes.forked(server, n, world, place / f"on-{n}", f"model.name={run}", f"pairs={pairs}", "prefer.method=dpo+sft", script="train/prefer.py")
        and place / f"on-{n}"
        for n in (1, 2)
    )  # fmt: skip
    assert rows(one, "loss") == pytest.approx(rows(two, "loss"), rel=1e-4)
    assert rows(one, "eval_loss") == pytest.approx(rows(two, "eval_loss"), rel=1e-4)
    weights = [load_file(out / "adapter_model.safetensors") for out in (one, two)]
    for name, tensor in weights[0].items():
        torch.testing.assert_close(tensor, weights[1][name], rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_fewer_tokens_a_frame_and_a_connector_beside(world, tiny_folder, place):
    """The reference has its connector as it was, and the loss begins where nothing is preferred."""
    few = place / "few"
    how = ["model.tokens_a_frame=1", "lora.connector=true", "train.steps=2"]
    train(world, few, *how, base=str(tiny_folder))
    argv = [f"run={few}", f"data.path={world}", f"out={place / 'few-pairs'}"]
    sample(load(SampleConfig, [*argv, "makers.sampled=0", "makers.dropped=1"]))
    prefer(keys(place / "few-pairs", few, place / "few-dpo"))
    assert rows(place / "few-dpo", "loss")[1] == pytest.approx(0.6931, abs=1e-4)
    before, after = (
        load_file(out / "adapter_model.safetensors") for out in (few, place / "few-dpo")
    )
    assert before.keys() == after.keys()
    connector = [name for name in after if "modality_projection" in name]
    assert connector and not torch.equal(before[connector[0]], after[connector[0]])


def test_a_loss_that_is_not_finite_stops_the_run(pairs, run, place, monkeypatch):
    stock = DPOTrainer._compute_loss
    monkeypatch.setattr(DPOTrainer, "_compute_loss", lambda *given: stock(*given) * math.nan)
    with pytest.raises(UserError, match=r"step 1: the loss is nan on samples .*; lower optim\.lr"):
        prefer(keys(pairs, run, place / "nan", "data.eval_share=0"))


def test_the_plan_counts_the_reference_and_the_mask():
    """Both answers in a row; a mask of trees; a frozen copy of what trains."""
    for method, whole in (("lora", False), ("full", True)):
        config = load(PreferConfig, ["pairs=x", "model.name=tiny", f"train.method={method}", "train.accumulate=1"])  # fmt: skip
        load_ = BatchShape(frames=4, tokens=200, answer_tokens=60, batch=2)
        one, two = (
            estimate(shape_of(config.model), config, some, torch.float32)
            for some in (load_, replace(load_, branches=2, reference=True))
        )
        copied = one.parts["weights"] if whole else one.parts["adapter"]
        assert two.parts["reference"] == pytest.approx(copied, rel=0.01)
        mask = two.peak_bytes - two.parts["reference"] - one.peak_bytes
        assert mask >= 2 * 200**2  # a boolean a pair of tokens, at least


@pytest.mark.slow
def test_rft_learns_the_better_answers_and_nothing_else(pairs, run, place):
    prefer(keys(pairs, run, place / "rft", "prefer.method=rft"))
    chosen = {pair.id: pair.chosen for pair in read_pairs(str(pairs)).pairs}
    assert chosen
    held = rows(place / "rft", "eval_loss")
    assert held[max(held)] < held[0]  # references of held-out videos, as in SFT


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["data.features=true"], r"data\.features=true: not after SFT"),
        (["train.pack=true"], r"train\.pack=true: answers share a row"),
        (["model.attention=flash_attention_2"], "cannot share a prompt"),
        (["prefer.method=rft", "prefer.beta=0.2"], r"prefer\.beta: prefer\.method=rft has no use"),
        (["prefer.sft_weight=2"], r"prefer\.sft_weight: prefer\.method=dpo has no use"),
        (["eval.also=x"], "not with prefer.method=dpo"),
    ],
)
def test_keys_that_do_not_go_with_pairs_are_refused(argv, said):
    with pytest.raises(UserError, match=said):
        load(PreferConfig, ["pairs=x", *argv])


def test_the_rate_after_sft_stays_low_beside_other_keys():
    for more, rate in ([], 1e-5), (["optim.schedule=linear"], 1e-5), (["optim.lr=3e-6"], 3e-6):
        assert load(PreferConfig, ["prefer.method=dpo", "pairs=p", *more]).optim.lr == rate


def test_pairs_that_answer_something_else_are_refused(world, pairs, run, tmp_path):
    with pytest.raises(UserError, match=r"pairs: missing; .*scripts/sample\.py"):
        prefer(load(PreferConfig, [f"model.name={run}"]))
    with pytest.raises(UserError, match=r"answers to data\.target=timeline, and data\.target=para"):
        prefer(keys(pairs, run, tmp_path / "x", "data.target=paragraph"))
    other = tmp_path / "other"
    shutil.copytree(pairs, other)
    record = read_json(other / "pairs.json")
    record["dataset"]["sha256"] = "0" * 64
    (other / "pairs.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match=r"they answer .* sample again"):
        prefer(keys(other, run, tmp_path / "x"))
    prefer(
        keys(other, run, tmp_path / "x", "train.force=true", "train.steps=1", "train.save_every=1")
    )
    assert not (tmp_path / "y").exists()


def grpo(world, name, out, *more):
    argv = ["data.target=paragraph", f"data.path={world}", "prefer.method=grpo", "prefer.answers=3", "prefer.max_new_tokens=12"]  # fmt: skip
    config = keys("", name, out, *argv, "train.log_every=1", *more)
    return prefer(config.model_copy(update={"pairs": None}))


@pytest.fixture(scope="module")
def grouped(world, tiny_folder, place):
    grpo(world, tiny_folder, place / "grpo")
    return place / "grpo"


def test_answers_are_sampled_and_compared(grouped):
    assert list(rows(grouped, "loss")) == [1, 2, 3, 4]
    assert all(0 <= value <= 1 for value in rows(grouped, "reward").values())
    assert all(1 <= n <= 12 for n in rows(grouped, "answer_tokens").values())
    held = rows(grouped, "eval_reward")
    assert rows(grouped, "eval_loss") == {step: pytest.approx(1 - v, abs=1e-6) for step, v in held.items()}  # fmt: skip
    record = read_json(grouped / "run.json")["prefer"]
    assert record["method"] == "grpo" and record["reward"]["text"] == 1
    read_run(grouped)


@pytest.mark.slow
def test_a_resumed_run_of_groups_samples_what_it_would_have(world, tiny_folder, grouped, place):
    stopped = killed_after(grouped, 2, place / "grpo-stopped")
    prefer(load(PreferConfig, ["train.resume=true", f"train.output={stopped}"]))
    for name in ("loss", "reward", "answer_tokens"):
        assert rows(stopped, name) == pytest.approx(rows(grouped, name), rel=1e-5, abs=1e-6)


@pytest.mark.slow
def test_groups_on_two_processes(world, tiny_folder, place, server):
    how = ["data.target=paragraph", "prefer.method=grpo", "prefer.answers=3", "prefer.max_new_tokens=8"]  # fmt: skip
    said = processes.forked(server, 2, world, place / "grpo-2", f"model.name={tiny_folder}", *how, steps=2, script="train/prefer.py")  # fmt: skip
    assert "1 − reward" in said
    assert list(rows(place / "grpo-2", "reward")) == [1, 2]


def test_the_loss_of_a_group_is_that_of_trl(world, processor, tiny_folder, tmp_path):
    """Log-probabilities from trees are those of single rows, so TRL's loss and gradients are too."""
    args = GRPOConfig(output_dir=str(tmp_path), use_cpu=True, report_to="none", remove_unused_columns=False, gradient_checkpointing=False, per_device_train_batch_size=4, num_generations=2, num_generations_eval=1, steps_per_generation=1, disable_dropout=True, bf16=False)  # fmt: skip
    sets = load_prompts(
        Prepared.open(world), DataKeys(eval_share=0), processor, answers=2, longest=8
    )
    samples = [sets.train[0], sets.train[5]]
    found = []

    def scorer(said, true):
        """Some reward: the tiny model says nothing of worth yet."""
        return Reward(len(said.text) % 7 / 7, {})

    for kind in (GroupTrainer, GRPOTrainer):
        base = load_model(ModelKeys(name=str(tiny_folder)), "lora", Precision("cpu", torch.float32))
        torch.manual_seed(0)
        model = set_trainable(base, "lora", LoraKeys(targets="llm+connector"), OptimKeys())
        made = kind(model=noisy(model), reward_funcs=scorer, args=args, train_dataset=sets.train, processing_class=processor)  # fmt: skip
        made.current_gradient_accumulation_steps = 1
        made.model.train()
        if kind is GroupTrainer:
            made.reward_of, made.videos, made.each, made.longest, made.frames_at_once = scorer, 2, 2, 8, 64  # fmt: skip
            made.scale = partial(normalise, processor=processor)
            torch.manual_seed(3)
            inputs = made._prepare_inputs(samples)
            forward.install(base, partial(normalise, processor=processor), frames_at_once=64)
            given = {k: inputs[k].clone() for k in ("completion_ids", "completion_mask", "advantages", "num_items_in_batch")}  # fmt: skip
        else:
            prompts = [{"id": "", "input_ids": s["input_ids"], "labels": s["labels"], "frames": s["frames"]} for _ in range(2) for s in samples]  # fmt: skip
            left = collate(prompts, processor.tokenizer.pad_token_id, left=True)
            most = max(len(one["frames"]) for one in prompts)
            pixels = torch.zeros(4, most, *prompts[0]["frames"].shape[1:])
            real = torch.zeros(4, most, *pixels.shape[-2:], dtype=torch.bool)
            for i, one in enumerate(prompts):
                pixels[i, : len(one["frames"])] = normalise(one["frames"], processor)
                real[i, : len(one["frames"])] = True
            inputs = given | {"prompt_ids": left["input_ids"], "prompt_mask": left["attention_mask"], "pixel_values": pixels, "pixel_attention_mask": real, "num_images": [len(one["frames"]) for one in prompts]}  # fmt: skip
        loss = made.compute_loss(made.model, inputs)
        loss.backward()
        grads = {n: p.grad for n, p in made.model.named_parameters() if p.grad is not None}
        found.append((loss.item(), grads))
    (ours, own), (stock, theirs) = found
    assert given["advantages"].abs().max() > 0
    assert ours == pytest.approx(stock, rel=1e-5, abs=1e-6)
    assert own.keys() == theirs.keys()
    for name, grad in own.items():
        assert (grad - theirs[name]).norm() <= 1e-5 * theirs[name].norm() + 1e-9, name


@pytest.mark.slow
def test_four_bits(pairs, tiny_folder, place):
    """The reference's copy of the adapter is exact, and the adapter keeps its 32 bits."""
    prefer(keys(pairs, tiny_folder, place / "qlora", "train.method=qlora", "train.steps=2"))
    assert rows(place / "qlora", "loss")[1] == pytest.approx(0.6931, abs=1e-4)
    weights = load_file(place / "qlora" / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
