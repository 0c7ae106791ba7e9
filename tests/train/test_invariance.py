"""What must not matter does not: batching, packing, checkpointing, micro-batches, resuming."""

import shutil
from functools import partial

import pytest
import torch
from safetensors.torch import load_file

from data.prepared.dataset import Prepared
from tests.helpers.runs import losses, train
from train.batches.collate import collate, collate_packed
from train.batches.dataset import load_sets
from train.batches.frames import normalise
from train.model import forward
from train.model.load import Precision, load_model, set_trainable
from train.sections import DataKeys, LoraKeys, ModelKeys, OptimKeys


def same(a, b, rel=1e-4):
    one, other = losses(a), losses(b)
    assert list(one) == list(other) and len(one) >= 2
    assert list(one.values()) == pytest.approx(list(other.values()), rel=rel)


@pytest.fixture(scope="module")
def reference(world, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "reference"
    train(world, out, "train.batch=4", "train.accumulate=1", "train.save_every=2")
    return out


@pytest.mark.parametrize(
    "change",
    [
        ["train.batch=2", "train.accumulate=2", "train.vision_batch=1"],
        ["train.checkpointing=false"],
    ],
)
def test_same_losses(world, reference, tmp_path, change):
    train(world, tmp_path / "other", "train.batch=4", "train.accumulate=1", *change) if len(
        change
    ) < 2 else train(world, tmp_path / "other", *change)
    same(reference, tmp_path / "other")


def whole_epochs(world, out, *how):
    """Every step sees all samples, so that it does not matter how they are dealt."""
    train(world, out, "train.steps=2", "train.log_every=1", *how)


@pytest.mark.slow
def test_packing_does_not_matter(world, tmp_path):
    whole_epochs(world, tmp_path / "padded", "train.batch=19", "train.accumulate=1")
    whole_epochs(
        world,
        tmp_path / "several",
        "train.pack=true",
        "train.pack_tokens=900",
        "train.accumulate=64",
    )
    same(tmp_path / "padded", tmp_path / "several")
    a, b = (evaluations(tmp_path / name) for name in ("padded", "several"))
    assert a == pytest.approx(b, rel=1e-4)  # a mean over tokens, however they are batched


def evaluations(out):
    import json

    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [row["eval_loss"] for row in rows if "eval_loss" in row]


@pytest.mark.parametrize("method", ["full", "qlora"])
def test_packed_gradients_are_those_of_single_samples(world, tiny_folder, processor, method):
    keys = DataKeys(path=str(world), eval_share=0)
    samples = [load_sets(Prepared.open(keys.path), keys, processor).train[i] for i in range(4)]
    gradients = []
    for packed in (False, True):
        torch.manual_seed(0)
        model = load_model(
            ModelKeys(name=str(tiny_folder)), method, Precision("cpu", torch.float32)
        )
        trained = set_trainable(model, method, LoraKeys(dropout=0), OptimKeys()).train()
        forward.install(model, partial(normalise, processor=processor), frames_at_once=3)
        groups = [samples] if packed else [[s] for s in samples]
        for group in groups:
            batch = collate_packed(group) if packed else collate(group, pad_id=0)
            wanted = {
                k: v for k, v in batch.items() if k not in ("labels", "shift_labels", "sample_ids")
            }
            logits = trained(**wanted, use_cache=False).logits[0]  # (A, V)
            loss = torch.nn.functional.cross_entropy(
                logits, batch["shift_labels"][0], reduction="sum"
            )
            loss.backward()
        found = [p.grad.flatten() for p in trained.parameters() if p.grad is not None]
        gradients.append(torch.cat(found))
    single, packed = gradients
    assert single.norm() > 0 and (single - packed).norm() < 1e-4 * single.norm()


def test_no_logits_but_those_of_answers(world, tmp_path, monkeypatch):
    """TRL's fused head is used, in training and in evaluation, and it sees the answers' states only."""
    import trl.trainer.utils as fused
    from transformers import SmolVLMForConditionalGeneration

    seen = []
    real = fused._ChunkedLogProbFunction.apply
    monkeypatch.setattr(
        fused._ChunkedLogProbFunction,
        "apply",
        lambda *a: (seen.append((a[0].shape[0], a[3].shape[0])), real(*a))[1],
    )
    stock = SmolVLMForConditionalGeneration.forward

    def forward(self, *given, logits_to_keep=0, **named):  # the fingerprint asks for the last few
        assert logits_to_keep, "full logits"
        return stock(self, *given, logits_to_keep=logits_to_keep, **named)

    monkeypatch.setattr(SmolVLMForConditionalGeneration, "forward", forward)
    train(world, tmp_path / "a", "train.steps=1", "train.batch=4", "train.accumulate=1")
    assert len(seen) >= 3  # evaluated, trained, evaluated
    assert all(states == targets for states, targets in seen)
    supervised = sum(states for states, _ in seen) / len(seen)
    assert supervised < 4 * 60  # an answer has about 40 tokens, a sample 150


@pytest.mark.slow
@pytest.mark.parametrize(
    "how",
    [
        ["train.pack=true", "train.pack_tokens=700"],
        pytest.param(["train.batch=2"], marks=pytest.mark.slow),
    ],
)
def test_stop_and_resume_in_an_order_of_our_own(world, tmp_path, how):
    more = [*how, "train.accumulate=2", "train.save_every=3", "train.steps=6", "data.eval_share=0"]
    train(world, tmp_path / "whole", *more)
    shutil.copytree(tmp_path / "whole", tmp_path / "stopped")
    shutil.rmtree(tmp_path / "stopped/checkpoint-6")
    (tmp_path / "stopped/run.json").unlink()
    train(world, tmp_path / "stopped", *more, "train.resume=true")
    assert losses(tmp_path / "whole") == pytest.approx(losses(tmp_path / "stopped"), rel=1e-5)
    a, b = (load_file(tmp_path / n / "adapter_model.safetensors") for n in ("whole", "stopped"))
    assert all(torch.allclose(a[k], b[k], atol=1e-6) for k in a)
