import re
from functools import partial

import pytest
import torch
from peft import PeftModel

from data.errors import UserError
from train.batches.frames import normalise
from train.early_checks import check_reachable
from train.model import forward
from train.model.library_checks import check_overrides, set_known
from train.model.load import (
    LORA_TARGETS,
    Precision,
    check_position_ids,
    describe_trainable,
    load_model,
    pick_precision,
    set_trainable,
    trainable_by_part,
)
from train.sections import LoraKeys, ModelKeys, OptimKeys

CPU = Precision("cpu", torch.float32)


def load(folder, method="lora", lora=None, optim=None):
    model = load_model(ModelKeys(name=str(folder)), method, CPU)
    return set_trainable(model, method, lora or LoraKeys(), optim or OptimKeys())


@pytest.mark.parametrize(
    ("targets", "parts"),
    [
        ("llm", {"llm"}),
        ("llm+connector", {"llm", "connector"}),
        ("all", {"llm", "connector", "vision"}),
    ],
)
def test_lora_targets_hit_what_they_name_and_all_of_it(tiny_folder, targets, parts):
    model = load(tiny_folder, lora=LoraKeys(targets=targets, r=4))
    assert isinstance(model, PeftModel)
    assert {part for part, count in trainable_by_part(model).items() if count} == parts
    linear = {
        name
        for name, m in load_model(ModelKeys(name=str(tiny_folder)), "lora", CPU).named_modules()
        if isinstance(m, torch.nn.Linear)
    }
    hit = {name for name in linear if re.fullmatch(LORA_TARGETS[targets], name)}
    wanted = {
        name
        for name in linear
        if any(f"{p}_model" in name or p in name for p in parts if p != "llm")
        or ("llm" in parts and "text_model" in name)
    }
    assert hit == wanted and not any("lm_head" in name for name in hit)
    adapted = {
        name.removeprefix("base_model.model.")
        for name, m in model.named_modules()
        if hasattr(m, "lora_A")
    }
    assert adapted == hit


def test_qlora_quantises_the_language_model_only(tiny_folder):
    from bitsandbytes.nn import Linear4bit

    model = load(tiny_folder, "qlora").get_base_model()
    quantised = {
        name.replace(".base_layer", "")
        for name, m in model.named_modules()
        if isinstance(m, Linear4bit)
    }
    assert quantised and all("text_model.layers" in name for name in quantised)
    assert len(quantised) == 3 * 7  # q k v o gate up down in each layer
    assert type(model.lm_head) is torch.nn.Linear
    assert {p.dtype for p in model.model.vision_model.parameters()} == {torch.float32}


def test_4_bit_gradients_survive_an_evaluation(tiny_folder):
    """bitsandbytes repacks CPU weights in evaluation for a kernel that has no backward."""
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn import Linear4bit

    model = load_model(ModelKeys(name=str(tiny_folder)), "qlora", CPU)
    layer = next(m for m in model.modules() if isinstance(m, Linear4bit))
    weight = dequantize_4bit(layer.weight, layer.weight.quant_state).clone()
    with torch.no_grad():
        layer.eval()(torch.randn(2, 3, layer.in_features))
    x = torch.randn(2, 3, layer.in_features, requires_grad=True)
    layer.train()(x).sum().backward()
    assert torch.allclose(x.grad, weight.sum(0).expand_as(x), atol=1e-4)


def test_full_has_a_part_for_each_rate_and_zero_freezes(tiny_folder):
    parts = trainable_by_part(load(tiny_folder, "full"))
    assert parts["vision"] == 0 and parts["connector"] and parts["llm"]
    parts = trainable_by_part(
        load(tiny_folder, "full", optim=OptimKeys(lr_vision=1e-5, lr_connector=0))
    )
    assert parts["vision"] and parts["connector"] == 0
    assert "parameters train (" in describe_trainable(load(tiny_folder, "full"))


def test_a_frozen_tower_is_outside_autograd(tiny_folder, processor):
    frames = torch.randint(0, 256, (5, 3, 64, 64), dtype=torch.uint8)
    for method, optim, trains in (
        ("lora", OptimKeys(), False),
        ("full", OptimKeys(), False),
        ("full", OptimKeys(lr_vision=1e-5), True),
    ):
        model = load(tiny_folder, method, optim=optim).train()
        model.enable_input_require_grads()  # as gradient checkpointing does
        base = model.get_base_model() if method == "lora" else model
        seen = forward.encode_frames(
            base, partial(normalise, processor=processor), frames, frames_at_once=2
        )
        assert seen.requires_grad == trains and base.model.vision_model.training == trains
        stock = base.model.get_image_features(normalise(frames, processor)[None])
        assert torch.allclose(seen, stock.last_hidden_state, atol=1e-5)


def test_position_ids_are_checked(tiny_folder, monkeypatch):
    model = load_model(ModelKeys(name=str(tiny_folder)), "lora", CPU)
    embeddings = model.model.vision_model.embeddings
    right = torch.bucketize
    monkeypatch.setattr(torch, "bucketize", lambda *a, **k: (right(*a, **k) - 1).clamp(min=0))
    with pytest.raises(UserError, match=r"transformers>=5\.21\.1"):
        check_position_ids(model)
    assert not embeddings.position_embedding._forward_pre_hooks


def test_precision_follows_the_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_precision("auto") == CPU and pick_precision("bf16").compute is torch.bfloat16
    with pytest.raises(UserError, match="fp16"):
        pick_precision("fp16")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for native, dtype in ((True, torch.bfloat16), (False, torch.float16)):
        # a T4 says yes to bf16 unless emulation is ruled out
        monkeypatch.setattr(
            torch.cuda,
            "is_bf16_supported",
            lambda including_emulation=True, n=native: n or including_emulation,
        )
        assert pick_precision("auto") == Precision("cuda", dtype)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla T4")
    with pytest.raises(UserError, match=r"bf16: a Tesla T4 only emulates it.*model\.dtype=auto"):
        pick_precision("bf16")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "neither a folder nor a Hub id"),
        ("../x", "neither a folder"),
        ("a/b/c", "neither a folder"),
        ("some one/else", "Hub id"),
        ("HuggingFaceTB/SmolVLM2-256M-Video-Instruct", "cannot be fetched"),
    ],
)
def test_what_cannot_be_loaded_is_one_line(name, message):
    with pytest.raises(UserError, match=message) as caught:
        check_reachable(ModelKeys(name=name))
    assert len(str(caught.value).splitlines()) == 1


def test_folders_that_are_no_checkpoint(tmp_path):
    with pytest.raises(UserError, match=r"no config\.json"):
        check_reachable(ModelKeys(name=str(tmp_path)))
    for content, message in (
        ("{", "not a model"),
        ("[]", "not a model"),
        ('{"model_type": "llama"}', "SmolVLM2"),
    ):
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(UserError, match=message):
            check_reachable(ModelKeys(name=str(tmp_path)))


def test_damaged_checkpoints_are_one_line(tiny_folder, tmp_path):
    import shutil

    from train.model.load import load_processor

    for file, load_part in (
        ("model.safetensors", lambda keys: load_model(keys, "lora", CPU)),
        ("processor_config.json", load_processor),
        ("tokenizer.json", load_processor),
    ):
        for damage in ("cut", "gone"):
            folder = tmp_path / f"{file}-{damage}"
            shutil.copytree(tiny_folder, folder)
            (folder / file).write_bytes((folder / file).read_bytes()[:50]) if damage == "cut" else (
                folder / file
            ).unlink()
            with pytest.raises(UserError, match=r"model\.name=") as caught:
                load_part(ModelKeys(name=str(folder)))
            assert len(str(caught.value).splitlines()) == 1


def test_a_large_model_on_a_cpu_is_refused_unless_forced(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (tmp_path / "config.json").write_text(
        '{"model_type": "smolvlm", "text_config": {"hidden_size": 2048}}'
    )
    with pytest.raises(UserError, match="no CUDA device"):
        check_reachable(ModelKeys(name=str(tmp_path)))
    check_reachable(ModelKeys(name=str(tmp_path)), force=True)


def test_insides_that_are_gone_or_changed_are_told():
    class Trainer:
        def _clip_grad_norm(self, model): ...
        def _get_dataloader(self, dataset): ...

    check_overrides(Trainer, {"_clip_grad_norm": ("model",)}, "trl")
    for names in ({"_clip": ()}, {"_get_dataloader": ("dataset", "is_training")}):
        with pytest.raises(
            UserError, match=r"trl [\d.]+ has no Trainer\._\w+\(.*which is relied on here"
        ):
            check_overrides(Trainer, names, "trl")
    thing = Trainer()
    with pytest.raises(UserError, match=r"has no Trainer\.cast"):
        set_known(thing, "cast", False, "peft")


def test_a_forward_that_swallows_pictures(tiny_folder):
    """As it would if its parameter were called otherwise again."""
    model = load_model(ModelKeys(name=str(tiny_folder)), "lora", Precision("cpu", torch.float32))

    class Renamed(type(model.model)):
        def forward(self, input_ids=None, picture_outputs=None, **named):
            return super().forward(input_ids, **named)

    model.model.__class__ = Renamed
    with pytest.raises(UserError, match=r"has no Renamed\.forward\(mm_encoder_outputs\)"):
        forward.install(model, lambda x: x, frames_at_once=1)
