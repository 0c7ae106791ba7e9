"""The plan: right figures, clear refusals, and what to change."""

import itertools
import json
from dataclasses import replace
from types import SimpleNamespace

import psutil
import pytest
import torch

from data.config import load
from data.errors import UserError
from tests.helpers.runs import train
from tests.helpers.videos import call_command
from train.batches.encode import Exchange, encode_text
from train.batches.frames import frame_size_px
from train.batches.survey import Survey
from train.bench import gpu
from train.bench.config import BenchGpuConfig
from train.bench.plan import count
from train.bench.real_steps import batch_of, ready
from train.config import TrainConfig
from train.inference.generate import answer
from train.memory import plan as planning
from train.memory.config import CARDS
from train.memory.estimate import BatchShape, estimate, estimates
from train.memory.live_bytes import LiveBytes, count_weights
from train.memory.plan import batch_shape, batch_shape_of_data, out_of_memory_explained, plan
from train.memory.shapes import SHAPES, shape_of
from train.memory.training_model import prepare_for_training
from train.model.load import Precision, count_parameters, load_model
from train.sections import ModelKeys

BF16 = torch.bfloat16


def estimated(*argv, frames=4, batch=1, compute=torch.float32, **more):
    once = [] if any("accumulate" in a for a in argv) else ["train.accumulate=1"]
    config = load(TrainConfig, ["model.name=tiny", *once, *argv])
    tokens = frames * 16 + 100
    return estimate(
        shape_of(config.model), config, BatchShape(frames, tokens, 40, batch, **more), compute
    )


def test_published_shapes_have_the_published_parameter_counts():
    from transformers import SmolVLMForConditionalGeneration

    for name, weights in zip(SHAPES, (256_484_928, 507_482_304, 2_246_272_880), strict=True):
        with torch.device("meta"):
            model = SmolVLMForConditionalGeneration(shape_of(ModelKeys(name=name)))
        assert count_parameters(model) == weights


def test_the_tower_is_counted_where_the_trainer_keeps_it(monkeypatch):
    """With features nobody looks through it; on several devices it stays all the same."""
    argv = ["data.features=true"]
    one = estimated(*argv, cached=True)
    monkeypatch.setenv("WORLD_SIZE", "2")
    several = estimated(*argv, cached=True)
    assert several.parts["weights"] > one.parts["weights"]
    monkeypatch.delenv("WORLD_SIZE")
    short = estimate_of_little(*argv)
    assert short.parts == {"weights": short.peak_bytes}  # the most is held while it is loaded


def estimate_of_little(*argv):
    config = load(
        TrainConfig,
        ["model.name=tiny", "train.accumulate=1", "train.method=lora", "lora.r=1", *argv],
    )
    return estimate(shape_of(config.model), config, BatchShape(1, 8, 2, cached=True), torch.float32)


@pytest.mark.slow
@pytest.mark.parametrize(
    "argv",
    [
        ["recipe=qlora"], ["recipe=lora", "lora.dora=true"], ["recipe=full"], ["recipe=full_2b", "train.accumulate=1"],
        ["recipe=lora", "train.offload=true"], ["recipe=lora", "eval.generate_every=2"], ["recipe=lora", "train.checkpointing=false"],
        ["recipe=long"], ["recipe=full", "train.checkpointing=false"],
    ],
)  # fmt: skip
def test_layers_that_only_count_take_what_layers_take(argv, monkeypatch):
    """To the byte and to the operation."""
    config = load(TrainConfig, [*argv, "model.name=HuggingFaceTB/SmolVLM2-256M-Video-Instruct"])
    load_ = BatchShape(20, 1600, 200, 2)
    quick = estimate(shape_of(config.model), config, load_, BF16)
    monkeypatch.setattr("train.memory.estimate.pretend_between", lambda *_, checkpointing: [])
    monkeypatch.setattr("train.memory.estimate.run_each_kind_once", lambda layers, bytes_: None)
    whole = estimate(shape_of(config.model), config, load_, BF16)
    assert quick == whole


@pytest.mark.slow
def test_batches_planned_with_one_model_are_planned_as_alone():
    config = load(TrainConfig, ["recipe=long", "eval.generate_every=2", "eval.batch=2"])
    loads = [BatchShape(4, 400, 50, batch) for batch in (3, 1)]
    together = estimates(shape_of(config.model), config, loads, BF16)
    assert together == [estimate(shape_of(config.model), config, one, BF16) for one in loads]


@pytest.mark.slow
def test_what_each_switch_does_to_memory():
    full = estimated("train.method=full")
    assert sum(full.parts.values()) == full.peak_bytes and full.tflop > 0
    lora = estimated("train.method=lora")
    assert (
        lora.parts["optimizer"] == 2 * lora.parts["adapter"] and lora.peak_bytes < full.peak_bytes
    )
    assert estimated("train.method=qlora").parts["weights"] < 0.6 * lora.parts["weights"]
    assert estimated("train.checkpointing=false").peak_bytes > lora.peak_bytes
    assert estimated(frames=32, batch=2).peak_bytes > 2.5 * lora.peak_bytes
    assert estimated("train.accumulate=4", "train.method=full").peak_bytes >= full.peak_bytes
    assert estimated("data.features=true", cached=True).tflop < lora.tflop
    assert estimated("data.features=true", cached=True).parts["weights"] < lora.parts["weights"]
    assert estimated("train.offload=true", frames=32).peak_bytes < estimated(frames=32).peak_bytes
    assert estimated(packed_tokens=4 * 164).peak_bytes > lora.peak_bytes
    eager = "model.attention=eager"
    assert estimated(eager, frames=64).peak_bytes > 2 * estimated(frames=64).peak_bytes


def test_describing_while_training_is_counted_too(tiny_folder, processor):
    config = load(
        TrainConfig,
        [
            "model.name=tiny",
            "train.method=lora",
            "train.accumulate=1",
            "eval.generate_every=5",
            "eval.batch=4",
            "eval.max_new_tokens=40",
        ],
    )
    base = load_model(ModelKeys(name=str(tiny_folder)), "lora", Precision("cpu", torch.float32))
    trained = prepare_for_training(base, config, torch.float32, None).eval()
    ids, labels = encode_text(
        [Exchange("Say.", None)], [2.0 * i for i in range(24)], 48.0, processor
    )
    frames = torch.zeros(24, 3, *[frame_size_px(processor)] * 2, dtype=torch.uint8)
    prompt = {"id": "a", "input_ids": ids, "labels": labels, "frames": frames}
    counted = LiveBytes()
    count_weights(trained, counted)
    states = torch.empty(
        sum(8 * p.numel() for p in trained.parameters() if p.requires_grad), dtype=torch.uint8
    )
    counted.track(states, "optimizer")
    with counted:
        said = answer(trained, processor, [prompt] * 4, max_new_tokens=40)
    assert all(one.cut for one in said)  # all 40 words, as the plan has it
    planned = estimate(base.config, config, BatchShape(24, len(ids) + 10, 10), torch.float32)
    assert planned.describing and planned.peak_bytes == pytest.approx(counted.peak, rel=0.1)
    one = config.model_copy(update={"eval": config.eval.model_copy(update={"batch": 1})})
    assert not estimate(
        base.config, one, BatchShape(24, len(ids) + 10, 10), torch.float32
    ).describing


def test_a_packed_run_is_planned_for_full_rows():
    config = load(TrainConfig, ["model.name=tiny", "train.pack=true", "train.pack_tokens=1000"])
    tokens, frames, answers = (600, 300, 280), (8, 4, 4), (40, 40, 10)
    survey = Survey((0, 1, 2), tokens, frames, answers, (), (), 0, 0, 0, 0, {})
    given = batch_shape_of_data(config.train, config.data, survey)
    # a second video of 600 tokens does not fit, but shorter ones fill the row, and say more in all
    assert (given.packed_tokens, given.frames, given.answer_tokens) == (1000, 9, 80)
    one = estimate(
        shape_of(config.model), config, replace(given, packed_tokens=None), torch.float32
    )
    row = estimate(shape_of(config.model), config, given, torch.float32)
    assert row.peak_bytes > 1.3 * one.peak_bytes
    said = "1000 tokens of packed videos with up to 9 frames, 600 tokens each"
    assert planning.describe_batch(given) == said


@pytest.mark.slow
def test_the_largest_batch_fits_and_a_larger_one_does_not(monkeypatch):
    """Also while describing, which takes more than a step and does not grow with train.batch."""
    config = load(
        TrainConfig,
        ["model.name=tiny", "train.method=lora", "train.accumulate=1", "data.max_tokens=8192"],
    )
    describing = load(
        TrainConfig,
        [
            "model.name=tiny",
            "train.method=lora",
            "train.accumulate=1",
            "eval.generate_every=5",
            "eval.batch=64",
            "eval.max_new_tokens=2048",
        ],
    )
    shape = shape_of(config.model)
    monkeypatch.setattr(planning, "FRAME_COUNTS", (16,))

    def peak(config, batch):
        return plan(
            shape,
            config,
            replace(batch_shape(config.train, config.data, shape, 16, 300), batch=batch),
            torch.float32,
        ).peak_gib

    three, four = peak(config, 3), peak(config, 4)
    room = (three + 3 * four) / 4
    assert planning.largest(shape, config, 300, torch.float32, room)[16] == 3
    one = peak(config, 1)
    assert planning.largest(shape, config, 300, torch.float32, one - 1e-4)[16] == 0
    told = peak(describing, 1)
    assert told > four
    assert planning.largest(shape, describing, 300, torch.float32, (told + four) / 2)[16] == 0


@pytest.mark.parametrize(
    ("environment", "shared"),
    [
        ({"ACCELERATE_USE_FSDP": "true"}, ("weights", "gradients", "optimizer")),
        pytest.param(
            {"ACCELERATE_DEEPSPEED_ZERO_STAGE": "3"},
            ("weights", "gradients", "optimizer"),
            marks=pytest.mark.slow,
        ),
        ({"ACCELERATE_DEEPSPEED_ZERO_STAGE": "2"}, ("gradients", "optimizer")),
    ],
)
def test_devices_that_share_a_model_hold_a_part_each(environment, shared, monkeypatch):
    config = load(TrainConfig, ["model.name=tiny", "train.method=full", "train.accumulate=2"])
    shape, given = shape_of(config.model), BatchShape(6, 300, 40)
    alone = plan(shape, config, given, torch.float32)
    for name, value in {**environment, "WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    one = plan(shape, config, given, torch.float32)
    parts, whole = one.estimate.parts, alone.estimate.parts
    for name in whole:
        assert parts[name] == pytest.approx(whole[name] / (4 if name in shared else 1), abs=1)
    # two of the language model's three layers, and what lies outside of layers
    gathered = parts.get("gathered weights", 0)
    assert (whole["weights"] / 3 < gathered < whole["weights"]) == ("weights" in shared)
    assert one.estimate.peak_bytes == sum(parts.values()) < alone.estimate.peak_bytes
    assert "on each of the devices, which share it by" in one.line()


def test_more_tokens_than_the_model_has_positions_for():
    config = load(TrainConfig, ["model.name=tiny", "data.max_tokens=16384"])
    with pytest.raises(UserError, match=r"context ends at 8192; set data.max_tokens=8192"):
        plan(shape_of(config.model), config, BatchShape(6, 300, 40), torch.float32)


def test_states_of_8_bits():
    states = {
        name: estimated("train.method=full", f"optim.name={name}").parts.get("optimizer", 0)
        for name in ("adamw", "adamw_8bit", "paged_adamw_8bit", "muon")
    }
    assert states["adamw"] > 3.8 * states["adamw_8bit"] > 0
    assert (
        0.5 * states["adamw"] < states["muon"] < 0.9 * states["adamw"]
    )  # matrices have one moment
    assert states["paged_adamw_8bit"] < 0.01 * states["adamw"]  # only what is too small for 8 bits


@pytest.mark.slow
def test_the_command(tmp_path):
    done = call_command(
        "scripts/plan.py", "model.name=tiny", "train.method=lora", "frames.max=8", "gpu=t4", "search=false",
        f"json={tmp_path}/plan.json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "plan.json").read_text())
    assert told["fits"] and told["card_gib"] == CARDS["t4"].gib and told["frames"] == 8
    assert told["peak_gib"] == pytest.approx(sum(told["parts"].values()), abs=0.01)
    assert told["without_checkpointing_tflop"] < told["tflop"]
    assert "train.checkpointing=false fits too" in done.stdout
    assert "fits" in done.stdout and "at 20 TFLOP/s (assumed" in done.stdout


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["gpu=12"], "gpu"),
        (["gpu=t4", "model.dtype=bf16"], "only emulates it"),
        (["model.name=nowhere"], "neither a folder nor a Hub id"),
        (["model.name=tiny", "frames.max=0"], "frames.max"),
    ],
)
def test_what_cannot_be_planned_is_one_line(argv, message):
    done = call_command("scripts/plan.py", *argv)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr


def test_more_frames_than_the_context_holds(capsys):
    from train.memory.config import PlanConfig
    from train.memory.report import show_plan

    told = show_plan(
        load(
            PlanConfig,
            ["model.name=tiny", "frames.max=900", "data.max_tokens=2048", "search=false"],
        )
    )
    assert (
        told["tokens"] <= 2048
        and "of 900 frames fit into data.max_tokens=2048" in capsys.readouterr().out
    )


@pytest.mark.slow
def test_a_run_that_cannot_fit_is_refused_with_what_would(
    world, tiny_folder, tmp_path, monkeypatch, capsys
):
    needed = planning.OVERHEAD_GIB + 0.03
    monkeypatch.setattr(planning, "free_gib", lambda device: needed)
    how = ["train.batch=8", "train.accumulate=1", "data.eval_share=0", "train.steps=1"]
    with pytest.raises(
        UserError,
        match=r"this run needs 0\.\d GiB at most .*train\.batch=1 train\.accumulate=8 \(0\.\d GiB\).*train\.force=true",
    ):
        train(world, tmp_path / "a", *how, base=str(tiny_folder), method="full")
    train(world, tmp_path / "b", *how, "train.force=true", base=str(tiny_folder), method="full")
    assert "plan: 0." in capsys.readouterr().out


def test_attention_is_counted_where_torch_has_no_formula_for_it():
    """Two products of all pairs of tokens forward; five backward, as the scores are computed again."""
    heads, tokens, width = 3, 40, 16
    q, k, v = (torch.zeros(1, heads, tokens, width, requires_grad=True) for _ in range(3))
    count = LiveBytes()
    with count:
        out = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        forward = count.flop
        out.sum().backward()
    product = 2 * heads * tokens**2 * width
    assert (forward, count.flop) == (2 * product, 7 * product)


def test_out_of_memory_says_what_was_planned_and_what_to_change(monkeypatch):
    config = load(TrainConfig, ["model.name=tiny", "train.method=qlora", "train.batch=8"])
    shape = shape_of(config.model)
    found = plan(shape, config, BatchShape(6, 300, 40, 8), torch.float32)
    said = r"out of memory: planned .* GiB.*It fits with .*train\.resume=true"
    with pytest.raises(UserError, match=said), out_of_memory_explained(found, config):
        raise torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(UserError, match="out of memory"), out_of_memory_explained(found, config):
        raise RuntimeError(
            "DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 byte"
        )
    with (
        pytest.raises(RuntimeError, match="something else"),
        out_of_memory_explained(found, config),
    ):
        raise RuntimeError("something else")
    assert planning.free_gib("cpu") == pytest.approx(
        psutil.virtual_memory().available / 2**30, rel=0.2
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("methods", "more"),
    [
        (("full", "lora", "qlora", "connector"), []),
        (("lora", "connector"), ["tokens=16", "checkpointing=false"]),
    ],
)
def test_a_real_step_holds_what_was_planned(tmp_path, methods, more):
    done = call_command(
        "scripts/bench_plan.py",
        "models=256M",
        "frames=4",
        f"methods={','.join(methods)}",
        *more,
        f"json={tmp_path}/plan.json",
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads((tmp_path / "plan.json").read_text())
    assert set(told) >= {f"256M/{m}/4/ratio" for m in methods}
    assert told["worst"] < 0.01


@pytest.mark.parametrize("checkpointing", ["true", "false"])
def test_a_real_packed_row_holds_what_was_planned(tiny_folder, checkpointing):
    """Its mask too, which rows of one sample do not have."""
    alone = Precision("cpu", torch.float32)
    more = [f"train.checkpointing={checkpointing}"]
    real = ready("tiny", tiny_folder, "lora", alone, None, more)
    batch = batch_of(real.shape, BatchShape(8, 1200, 100))
    batch["position_ids"] = torch.tensor([[*range(600), *range(600)]])
    counted = count(real, batch)
    row = BatchShape(4, 600, 50, packed_tokens=1200)
    planned = estimate(real.shape, real.config, row, alone.compute)
    assert planned.peak_bytes == pytest.approx(counted, rel=0.02)
    without = estimate(real.shape, real.config, BatchShape(8, 1200, 100), alone.compute)
    assert planned.peak_bytes - without.peak_bytes > 1200**2  # a boolean a pair of tokens, at least


@pytest.mark.slow
@pytest.mark.parametrize(
    ("argv", "most"),
    [
        (["recipe=qlora", "frames.max=64", "train.batch=4"], 9.2),
        (["recipe=lora", "model.name=HuggingFaceTB/SmolVLM2-2.2B-Instruct", "frames.max=64"], 6.7),
        (["recipe=full_2b", "frames.max=32"], 12.7),
        (["recipe=t4", "gpu=t4", "frames.max=64"], 14.6),
    ],
)
def test_the_large_model_on_a_small_card(argv, most):
    from train.memory.config import PlanConfig
    from train.memory.report import show_plan

    told = show_plan(load(PlanConfig, [*argv, "search=false"]))
    assert told["fits"] and told["peak_gib"] <= most


@pytest.mark.slow
def test_the_loader_beside_the_steps_demand(tmp_path):
    done = call_command(
        "scripts/bench_loader.py",
        "videos=4",
        "frames=2",
        "workers=0",
        "model=256M",
        f"json={tmp_path}/o.json",
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads((tmp_path / "o.json").read_text())
    assert told["workers=0/videos_per_s"] > 0 and told["demand_videos_per_s"] > 0


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU: run scripts/bench_gpu.py")
def test_the_bench_of_a_gpu_needs_one():
    done = call_command("scripts/bench_gpu.py")
    assert done.returncode == 2 and "no CUDA device here" in done.stderr


@pytest.mark.slow
def test_the_keys_of_every_case_of_a_card_are_taken():
    keys = BenchGpuConfig()
    for size, method in itertools.product(keys.models, keys.methods):
        case = gpu.GpuCase(size, method, 16, False, BF16)
        assert gpu.settings_of(case)[0].train.method == method


def test_the_bench_of_a_card_plans_once_and_outlives_a_case(monkeypatch):
    """The loop around the cases, with a card that only answers questions: one plan serves ours and TRL's
    way, an error of one case is its row, and the figures are written after each."""
    card = {
        "is_available": True, "get_device_name": "a card", "is_bf16_supported": True, "max_memory_allocated": 2**30,
        "get_device_properties": SimpleNamespace(total_memory=80 * 2**30), "reset_peak_memory_stats": None,
        "set_per_process_memory_fraction": None, "empty_cache": None,
    }  # fmt: skip
    for name, said in card.items():
        monkeypatch.setattr(f"torch.cuda.{name}", lambda *_, said=said, **__: said)
    monkeypatch.setattr(gpu, "_product_tflops", lambda dtype: 100.0)
    planned = []
    monkeypatch.setattr(gpu, "plan", lambda *given: planned.append(given) or plan(*given))

    def steps(case, *_):
        if case.stock:
            raise AttributeError("no such thing")
        return 0.5

    monkeypatch.setattr(gpu, "steps", steps)
    kept = []
    found = gpu.measure(BenchGpuConfig(models="256M", methods="lora", frames="16"), kept.append)
    assert len(planned) == 2  # and one for the forced path of a T4
    name = "256M/lora/16/bfloat16"
    assert found[f"{name}/stock/error"] == "AttributeError: no such thing"
    assert found[f"{name}/ours/videos_per_s"] == 2 and found[f"{name}/ours/planned_gib"] > 1
    assert [k["left_out"] for k in kept] == [2, 1, 0] and f"{name}/ours/seconds" in kept[0]
