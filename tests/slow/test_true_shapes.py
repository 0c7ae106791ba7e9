"""prepare → LoRA step → describe at SmolVLM2-256M's true shapes, by the code path of a Hub checkpoint."""

import json

import pytest

from data.config import load
from tests.helpers.videos import call_command, every, run_command, write_video

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    from train.bench import random_checkpoint
    from train.memory.config import MODELS

    return random_checkpoint.build(
        MODELS["256M"], tmp_path_factory.mktemp("base") / "SmolVLM2-256M"
    )


def test_shapes_and_ids_are_those_published(checkpoint):
    import torch

    from train.model.load import (
        Precision,
        count_parameters,
        load_model,
        load_processor,
        set_trainable,
        trainable_by_part,
    )
    from train.sections import LoraKeys, ModelKeys, OptimKeys

    keys = ModelKeys(name=str(checkpoint))
    loaded = load_processor(keys)
    token = loaded.tokenizer.convert_tokens_to_ids
    ids = {
        "<image>": 49190,
        "<fake_token_around_image>": 49189,
        "<global-img>": 49152,
        "<end_of_utterance>": 49279,
    }
    assert {name: token(name) for name in ids} == ids and loaded.image_seq_len == 64
    model = load_model(keys, "lora", Precision("cpu", torch.float32))
    assert count_parameters(model) == 256_484_928
    model = set_trainable(model, "lora", LoraKeys(r=8), OptimKeys())
    assert trainable_by_part(model) == {"vision": 0, "connector": 0, "llm": 2_442_240}


def test_prepare_train_describe(checkpoint, tmp_path):
    from train import sft
    from train.config import TrainConfig

    rows = []
    for i in range(3):
        video = write_video(tmp_path / f"v{i}.mp4", every(0.1, 40), size=(640, 360))
        rows.append(
            {
                "video": video.name,
                "events": [[0.0, 2.0, "bars count up"], [2.0, 4.0, "bars count on"]],
            }
        )
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    done = run_command(
        "scripts/prepare.py",
        "source=jsonl",
        f"source.path={tmp_path}/rows.jsonl",
        f"out={tmp_path}/p",
        "frames.max=2",
    )
    assert done.returncode == 0, done.stderr
    out = tmp_path / "run"
    results = sft.main(
        load(TrainConfig, ["recipe=lora", f"model.name={checkpoint}", f"data.path={tmp_path}/p", "train.steps=1", "train.accumulate=1",
                           "data.eval_share=0", "data.workers=0", f"train.output={out}"])
    )  # fmt: skip
    assert results["steps"] == 1 and (out / "adapter_model.safetensors").stat().st_size > 1e6
    logged = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert 8 < logged[0]["loss"] < 14  # ln(49280) = 10.8: random weights know nothing
    done = call_command(
        "scripts/describe.py",
        str(tmp_path / "v0.mp4"),
        f"adapter={out}",
        "format=json",
        "max_new_tokens=4",
    )
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["times_s"]) == 2
