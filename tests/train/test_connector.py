"""Fewer tokens a frame: the widened connector, what it is at first, how it trains, what follows it."""

import json

import pytest
import torch
from safetensors import safe_open
from torch.nn import functional
from transformers import AutoProcessor, SmolVLMForConditionalGeneration

from data.config import load
from data.errors import UserError
from data.prepared.dataset import Prepared
from tests.helpers.runs import losses, train
from train.batches.dataset import load_sets
from train.bench.config_trained import BenchTokensConfig
from train.bench.tokens import what_fits
from train.config import TrainConfig
from train.inference.config import MergeConfig
from train.inference.generate import load_run
from train.inference.merge import merge
from train.memory.config import MODELS
from train.memory.shapes import SHAPES, check_tokens, shape_of
from train.model.connector import token_counts, tokens_of, widen, widened
from train.model.load import Precision, load_model, load_processor
from train.run.saved import base_of, read_run
from train.sections import DataKeys, ModelKeys

CPU = Precision("cpu", torch.float32)


@pytest.mark.parametrize(
    ("name", "counts"), [("256M", [64, 16, 4]), ("500M", [64, 16, 4]), ("2.2B", [81, 9])]
)
def test_the_published_models_can_have(name, counts):
    assert list(token_counts(shape_of(ModelKeys(name=MODELS[name])))) == counts
    for tokens in counts:
        shape = shape_of(ModelKeys(name=MODELS[name], tokens_a_frame=tokens))
        assert tokens_of(shape) == tokens
    with pytest.raises(UserError, match=f"can have {', '.join(map(str, counts))} tokens a frame"):
        shape_of(ModelKeys(name=MODELS[name], tokens_a_frame=7))


@pytest.mark.parametrize(
    ("name", "tokens"), [("256M", 16), ("256M", 4), ("500M", 16), ("500M", 4), ("2.2B", 9)]
)
def test_widened_is_the_mean_of_neighbouring_tokens(name, tokens):
    """At the true shapes; of the language model's width a part is enough."""
    from transformers.models.smolvlm.modeling_smolvlm import SmolVLMConnector

    torch.manual_seed(0)
    shape = SHAPES[MODELS[name]]
    vision = shape["vision_config"]
    side = vision["image_size"] // vision["patch_size"]
    config = shape_of(ModelKeys(name=MODELS[name]))
    config.text_config.hidden_size = 48
    stock = SmolVLMConnector(config)
    seen = torch.randn(2, side**2, vision["hidden_size"])
    grid = side // config.scale_factor
    wanted = token_counts(shape_of(ModelKeys(name=MODELS[name])))[tokens]
    config.scale_factor = wanted
    wide = SmolVLMConnector(config)
    wide.modality_projection.proj.weight.data = widened(
        stock.modality_projection.proj.weight.data, stock.scale_factor, wanted
    )
    with torch.inference_mode():
        before = stock(seen).unflatten(1, (grid, grid)).movedim(-1, 1)  # (F, H, g, g)
        mean = functional.adaptive_avg_pool2d(before, int(tokens**0.5)).flatten(2).mT  # (F, N, H)
        after = wide(seen)
    assert after.shape == (2, tokens, 48)
    assert float((after - mean).abs().max() / mean.std()) < 1e-5


def test_its_own_number_changes_nothing(tiny_folder):
    model = load_model(ModelKeys(name=str(tiny_folder), tokens_a_frame=4), "lora", CPU)
    stock = load_model(ModelKeys(name=str(tiny_folder)), "lora", CPU)
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), stock.parameters(), strict=True)
    )
    widen(stock, None)
    assert stock.config.scale_factor == model.config.scale_factor


FEWER = ("model.tokens_a_frame=1", "lora.connector=true")
"""The tiny model has 4 tokens a frame."""


@pytest.fixture(scope="module")
def run(world, tmp_path_factory):
    out = tmp_path_factory.mktemp("fewer") / "run"
    train(world, out, *FEWER, "train.batch=4", "train.accumulate=1", "optim.lr_connector=2e-3")
    return out


def test_an_adapter_with_a_connector_beside_it(run):
    saved = read_run(run)
    assert saved.base.tokens_a_frame == 1
    assert json.loads((run / "frame_policy.json").read_text())["tokens_a_frame"] == 1
    model, processor = load_run(saved)  # the fingerprint says: it predicts what it did when saved
    assert processor.image_seq_len == 1 and model.get_base_model().config.scale_factor == 4
    with safe_open(run / "adapter_model.safetensors", "pt") as stored:
        (name,) = [key for key in stored.keys() if "connector" in key]  # noqa: SIM118
        trained = stored.get_tensor(name)
    begun = load_model(saved.base, "lora", CPU).model.connector.modality_projection.proj.weight
    assert trained.shape == begun.shape and not torch.equal(trained, begun)
    # the base beside it keeps its own tokens
    base, own = load_run(base_of(saved))
    assert own.image_seq_len == 4 and base.config.scale_factor == 2


def test_what_is_merged_is_an_ordinary_checkpoint(run, tmp_path):
    found = merge(MergeConfig(adapter=str(run), out=str(tmp_path / "merged"), dtype="fp32"))
    assert found.difference < 1e-3
    # plain transformers, without a word about tokens
    model = SmolVLMForConditionalGeneration.from_pretrained(tmp_path / "merged").eval()
    processor = AutoProcessor.from_pretrained(tmp_path / "merged")
    assert processor.image_seq_len == 1 == model.model.image_seq_len
    pictures = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    given = processor(images=[list(pictures)], text="<image><image>Describe", return_tensors="pt")
    apart, _ = load_run(read_run(run))
    with torch.inference_mode():
        a, b = (m(**given).logits for m in (model, apart))
    assert float((a - b).abs().max() / b.std()) < 1e-4


@pytest.mark.slow
def test_full_training_saves_an_ordinary_checkpoint(world, tmp_path):
    train(world, tmp_path / "run", "model.tokens_a_frame=1", method="full")
    saved = read_run(tmp_path / "run")
    assert saved.base.tokens_a_frame is None  # its own
    model, processor = load_run(saved)
    assert model.config.scale_factor == 4 and processor.image_seq_len == 1


@pytest.mark.parametrize("tokens", [None, 4, 1])
def test_as_many_tokens_in_the_prompt_as_features(world, tiny_folder, tokens):
    keys = ModelKeys(name=str(tiny_folder), tokens_a_frame=tokens)
    processor, model = load_processor(keys), load_model(keys, "lora", CPU)
    data = DataKeys(path=str(world), eval_share=0)
    sample = load_sets(Prepared.open(world), data, processor).train[0]
    features = model.model.connector(
        torch.zeros(len(sample["frames"]), 16, model.config.vision_config.hidden_size)
    )
    there = sum(t == processor.image_token_id for t in sample["input_ids"])
    assert there == features.flatten(0, 1).shape[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "how",
    [
        ["train.batch=1", "train.accumulate=4", "train.pack=true", "train.pack_tokens=600"],
        ["train.batch=4", "train.accumulate=1", "train.vision_batch=3"],
    ],
)
def test_it_does_not_matter_how_it_is_batched(world, run, tmp_path, how):
    how = [*how, "optim.lr_connector=2e-3"]
    if "train.pack=true" in how:  # every step sees all samples
        many = ["train.steps=2", "train.batch=24", "train.accumulate=1", "optim.lr_connector=2e-3"]
        train(world, tmp_path / "padded", *FEWER, *many)
        how = [*how[2:], "train.steps=2", "train.accumulate=64"]
        train(world, tmp_path / "other", *FEWER, *how)
        a, b = losses(tmp_path / "padded"), losses(tmp_path / "other")
    else:
        train(world, tmp_path / "other", *FEWER, *how)
        a, b = losses(run), losses(tmp_path / "other")
    assert list(a.values()) == pytest.approx(list(b.values()), rel=1e-4)


@pytest.mark.slow
def test_features_of_the_tower_serve_every_number(world, tiny_folder, run, tmp_path):

    from train.batches.cache_features import cache_features

    begun = ["train.batch=4", "train.accumulate=1", "optim.lr_connector=2e-3"]
    folders = set()
    for tokens in (4, 1):
        keys = [
            f"model.name={tiny_folder}",
            f"model.tokens_a_frame={tokens}",
            "lora.connector=true",
        ]
        config = load(TrainConfig, [*keys, f"data.path={world}", "data.workers=0"])
        folders.add(cache_features(config, Prepared.open(world)))
    assert len(folders) == 1
    for name, more in (("frames", []), ("cached", ["data.features=true"])):
        train(world, tmp_path / name, *FEWER, *begun, *more, base=str(tiny_folder))
    a, b = (losses(tmp_path / name) for name in ("frames", "cached"))
    assert list(a.values()) == pytest.approx(list(b.values()), rel=1e-4)


@pytest.mark.parametrize(
    ("argv", "method", "line"),
    [
        (["model.tokens_a_frame=1"], "lora", "lora.connector=true"),
        (["model.tokens_a_frame=1", "optim.lr_connector=0"], "full", "give optim.lr_connector"),
        (["model.tokens_a_frame=3", "lora.connector=true"], "lora", "can have 4, 1 tokens"),
        (["lora.connector=true", "lora.targets=all"], "lora", "give one of the two"),
        (["optim.lr_connector=1e-3"], "lora", "needs train.method=full or lora.connector"),
    ],
)
def test_what_cannot_train_is_refused_in_one_line(world, tmp_path, argv, method, line):
    with pytest.raises(UserError, match=line):
        train(world, tmp_path / "run", *argv, method=method)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_half_precision_trains_the_connector_in_full(world, tmp_path, method):
    """Its weights in training are floats of 32 bits, also while the run describes held-out videos."""
    how = ["model.dtype=bf16", "eval.generate_every=2", "eval.max_new_tokens=8", "train.steps=2"]
    train(world, tmp_path / "run", *FEWER, *how, method=method)
    with safe_open(tmp_path / "run/adapter_model.safetensors", "pt") as stored:
        (name,) = [key for key in stored.keys() if "connector" in key]  # noqa: SIM118
        assert stored.get_tensor(name).dtype == torch.float32
    model, _ = load_run(read_run(tmp_path / "run"), "bf16")
    assert model.get_base_model().model.connector.modality_projection.proj.weight is not None


def test_zero_3_is_refused(tiny_folder, monkeypatch):
    monkeypatch.setenv("ACCELERATE_DEEPSPEED_ZERO_STAGE", "3")
    config = load(TrainConfig, [f"model.name={tiny_folder}", *FEWER])
    with pytest.raises(UserError, match="ZeRO-3 shares the connector out"):
        check_tokens(config, config.model)
    check_tokens(config, config.model.model_copy(update={"tokens_a_frame": 4}))  # its own


@pytest.mark.slow
def test_what_fits_is_a_table(capsys):
    figures = what_fits(BenchTokensConfig(models=("500M",), frames=(64, 128)))
    assert figures["500M/64x64/cached_tflop"] / figures["500M/64x16/cached_tflop"] >= 3.5
    assert "500M/128x64/gib" not in figures  # more than the context holds
    assert "| 500M | 128 × 16 | 4,072 |" in capsys.readouterr().out
