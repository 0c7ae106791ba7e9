"""Answers that share a prompt in one row get the hidden states that they would get alone."""

from functools import partial

import pytest
import torch

from data.prepared.dataset import Prepared
from train.batches.collate import collate
from train.batches.encode import encode_answers
from train.batches.frames import decode_frames, frame_size_px, normalise
from train.batches.trees import collate_trees
from train.model import forward
from train.model.load import Precision, load_model
from train.sections import DataKeys, ModelKeys

ANSWERS = (
    ("[00:00 - 00:02] a red ball.", "nothing"),
    ("a", "[00:01 - 00:09] two blue squares spin and grow."),
)


@pytest.fixture(scope="module")
def samples(world, processor):
    found = []
    rows = Prepared.open(world).rows()
    for row, answers in zip([rows[0], rows[3]], ANSWERS, strict=True):
        prompt, each, kept = encode_answers(row, answers, processor, DataKeys())
        jpegs = [row["frames"][i]["bytes"] for i in kept]
        frames = decode_frames(jpegs, frame_size_px(processor))
        found.append({"id": row["id"], "prompt_ids": prompt, "answer_ids": each, "frames": frames})
    return found


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_branch_is_what_it_would_be_alone(samples, processor, tiny_folder, attention):
    keys = ModelKeys(name=str(tiny_folder), attention=attention)
    model = load_model(keys, "full", Precision("cpu", torch.float32)).eval()
    forward.install(model, partial(normalise, processor=processor), frames_at_once=4)
    batch = collate_trees(samples, processor.tokenizer.pad_token_id)
    given = {k: v for k, v in batch.items() if k not in ("sample_ids", "completion_mask", "input_ids", "attention_mask")}  # fmt: skip
    with torch.no_grad():
        states = model.model(**given, use_cache=False).last_hidden_state  # (4, L, H)
    assert states.shape[:2] == batch["input_ids"].shape
    for n in range(2):
        for i, one in enumerate(samples):
            ids = [*one["prompt_ids"], *one["answer_ids"][n]]
            alone = {
                "id": "",
                "input_ids": ids,
                "labels": [-100] * len(ids),
                "frames": one["frames"],
            }
            row = collate([alone], processor.tokenizer.pad_token_id)
            with torch.no_grad():
                whole = model.model(
                    input_ids=row["input_ids"], frames=row["frames"], use_cache=False
                )
            count = 1 + len(one["answer_ids"][n])
            own = batch["attention_mask"][2 * n + i]
            assert own.sum() == count
            assert batch["input_ids"][2 * n + i][:count].tolist() == ids[-count:]
            expected = whole.last_hidden_state[0, -count:]
            torch.testing.assert_close(states[2 * n + i][:count], expected, atol=2e-5, rtol=1e-4)


def test_a_prompt_is_computed_once(samples, processor):
    batch = collate_trees(samples, processor.tokenizer.pad_token_id)
    lengths = [len(s["prompt_ids"]) + sum(map(len, s["answer_ids"])) for s in samples]
    assert batch["tokens"].shape == (2, max(lengths))
    assert (batch["branch"] >= 0).sum(1).tolist() == lengths
    assert len(batch["frames"]) == sum(len(s["frames"]) for s in samples)
