"""A training step of TRL's SFTTrainer as users set it up, beside ours: seconds, bytes, FLOPs, gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from peft import LoraConfig
from PIL import Image
from torch.utils.data import SequentialSampler
from transformers import (
    SmolVLMForConditionalGeneration,
    SmolVLMProcessor,
)
from trl import SFTConfig, SFTTrainer
from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

from data.config import load
from train.batches.dataset import Sets
from train.batches.encode import Exchange, encode_text
from train.batches.frames import frame_size_px, normalise
from train.batches.samplers import LIKE_TOKENS, PackSampler, orders_of
from train.batches.split import Split
from train.batches.survey import Survey
from train.bench import random_checkpoint
from train.bench.config import BenchStepConfig
from train.bench.real_steps import RANK, gradient_error
from train.bench.step_cost import Cost, cost_of
from train.config import TrainConfig
from train.console import say
from train.loop.loading import Loaded, make_trainable
from train.loop.trainer import make_trainer
from train.memory.config import MODELS
from train.memory.shapes import shape_of
from train.model import forward
from train.model.connector import token_counts
from train.model.load import (
    LORA_TARGETS,
    Precision,
    load_model,
    load_processor,
    pick_precision,
)
from train.run.state import ordering
from train.sections import ModelKeys

SECONDS_A_FRAME = 2.0
IN_WORDS = {"tflop": "FLOPs", "seconds": "time", "peak_bytes": "memory"}


def measure(config: BenchStepConfig) -> dict[str, float]:
    """Flat figures: `stock/seconds`, `ours/seconds`, …, and ratios such as `stock ÷ ours/seconds`."""
    with TemporaryDirectory() as work:
        folder = random_checkpoint.build(MODELS[config.model], Path(work) / "base")
        keys = ModelKeys(name=str(folder))
        processor, precision = load_processor(keys), pick_precision(config.dtype)
        tokens = list(token_counts(shape_of(keys)))[1]
        fewer = keys.model_copy(update={"tokens_a_frame": tokens})
        k = config.frames

        def samples(processor: SmolVLMProcessor) -> list[dict[str, Any]]:
            count = 2 if config.steps else 1
            return [_sample(processor, k, config.answer_tokens, seed) for seed in range(count)]

        equal = samples(processor)
        unequal = [
            _sample(processor, n, config.answer_tokens, n)
            for n in (k, max(1, k // 4), max(1, k // 2))
        ]
        few = load_processor(fewer)
        run = partial(_ours, keys, processor, precision, config, Path(work) / "run")
        run_fewer = partial(_ours, fewer, few, precision, config, Path(work) / "few", samples(few))
        stock = partial(_stock, keys, processor, precision, config, out=Path(work) / "stock")
        costs = {"stock": stock(equal[:1])}
        costs["ours"] = run(equal)
        costs["ours, cached"] = run(equal, cached=True)
        costs["ours, fewer tokens"] = run_fewer()
        costs["ours, fewer tokens, cached"] = run_fewer(cached=True)
        costs["ours, fewer tokens, cached, no checkpointing"] = run_fewer(
            cached=True, checkpointing=False
        )
        if config.unequal:
            costs["three unequal, stock"] = stock(unequal)
            costs["three unequal, padded"] = run(unequal, batch=3)
            costs["three unequal, packed"] = run(unequal, pack=True)
        figures = _report(config, precision, costs) | {"fewer_tokens": tokens}
        if config.steps:
            error = gradient_error(keys, processor, precision, equal[0])
            say(
                f"gradients with our forward and with the stock forward: relative difference {error:.1e}"
            )
            figures["gradient_relative_error"] = error
    return figures


def _report(
    config: BenchStepConfig, precision: Precision, costs: dict[str, Cost]
) -> dict[str, float]:
    figures: dict[str, float] = {}
    say(
        f"{config.model} shapes, LoRA, {config.frames} frames, {precision.compute} on {precision.device}"
    )
    say("| step | seconds | peak MiB | TFLOP |\n|---|---|---|---|")
    for name, cost in costs.items():
        taken = "" if cost.seconds is None else f"{cost.seconds:.2f}"
        peak = "" if cost.peak_bytes is None else f"{cost.peak_bytes / 2**20:,.0f}"
        say(f"| {name} | {taken} | {peak} | {cost.tflop:.3f} |")
        figures |= {f"{name}/{what}": value for what, value in _measured(cost).items()}
    for a, b in (
        ("stock", "ours"),
        ("stock", "ours, cached"),
        ("stock", "ours, fewer tokens, cached"),
        ("stock", "ours, fewer tokens, cached, no checkpointing"),
        ("ours, cached", "ours, fewer tokens, cached"),
        ("three unequal, padded", "three unequal, packed"),
        ("three unequal, stock", "three unequal, packed"),
    ):
        if b not in costs:
            continue
        one, other = _measured(costs[a]), _measured(costs[b])
        ratios = {what: value / other[what] for what, value in one.items()}
        figures |= {f"{a} ÷ {b}/{what}": ratio for what, ratio in ratios.items()}
        said = ", ".join(f"{ratio:.2f} in {IN_WORDS[what]}" for what, ratio in ratios.items())
        say(f"{a} ÷ {b}: {said}")
    return figures


def _measured(cost: Cost) -> dict[str, float]:
    return {what: value for what, value in asdict(cost).items() if value is not None}


def _sample(
    processor: SmolVLMProcessor, frames: int, answer_tokens: int, seed: int
) -> dict[str, Any]:
    """A sample with random frames and a random answer, encoded as in our training."""
    draw = np.random.default_rng(seed)
    side = frame_size_px(processor)
    words = "".join(map(chr, draw.integers(97, 123, answer_tokens - 2)))
    times = [i * SECONDS_A_FRAME for i in range(frames)]
    talk = [Exchange("Describe.", words)]
    ids, labels = encode_text(talk, times, frames * SECONDS_A_FRAME, processor)
    pictures = torch.from_numpy(draw.integers(0, 256, (frames, 3, side, side), dtype=np.uint8))
    return {"id": str(seed), "input_ids": ids, "labels": labels, "frames": pictures, "words": words}


def _stock(
    keys: ModelKeys,
    processor: SmolVLMProcessor,
    precision: Precision,
    config: BenchStepConfig,
    samples: Sequence[dict[str, Any]],
    *,
    out: Path,
) -> Cost:
    """Cost of TRL's trainer with its own image collator: same frames, number of tokens and dtype.

    The model is loaded as its card says. Adapters go where ours go, so the vision tower is frozen.
    """
    model = SmolVLMForConditionalGeneration.from_pretrained(keys.name, dtype=precision.compute)
    processor.image_processor.do_image_splitting = False

    def row(sample: dict[str, Any], filler: int) -> dict[str, Any]:
        images = [Image.fromarray(f.permute(1, 2, 0).numpy()) for f in sample["frames"]]
        seen = processor.image_token * len(images)
        prompt = f"<|im_start|>User:{seen}Describe.{'x' * filler}<end_of_utterance>\nAssistant:"
        completion = f" {sample['words']}<end_of_utterance>"
        return {"images": images, "prompt": prompt, "completion": completion}

    mixed = precision.device == "cuda"
    args = SFTConfig(
        output_dir=str(out),
        per_device_train_batch_size=len(samples),
        gradient_accumulation_steps=1,
        max_steps=1 + config.steps,
        train_sampling_strategy="sequential",
        max_length=None,
        use_cpu=precision.device == "cpu",
        bf16=mixed and precision.compute is torch.bfloat16,
        fp16=mixed and precision.compute is torch.float16,
        report_to="none",
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
    )

    # the stock prompt has no times: filler letters bring it to the number of tokens that ours has
    collator = DataCollatorForVisionLanguageModeling(processor, max_length=None)
    rows = []
    for sample in samples:
        missing = len(sample["input_ids"]) - collator([row(sample, 0)])["input_ids"].shape[1]
        assert missing >= 0
        rows.append(row(sample, missing))
    trainer = SFTTrainer(
        model=model,
        args=args,
        train_dataset=Dataset.from_list(rows * (1 + config.steps)),
        processing_class=processor,
        peft_config=LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=LORA_TARGETS["llm"]),
    )
    given = trainer.data_collator(rows)["input_ids"]
    assert given.shape == (len(samples), max(len(s["input_ids"]) for s in samples))
    return cost_of(trainer, config)


def _ours(
    keys: ModelKeys,
    processor: SmolVLMProcessor,
    precision: Precision,
    config: BenchStepConfig,
    out: Path,
    samples: list[dict[str, Any]],
    *,
    batch: int = 1,
    pack: bool = False,
    cached: bool = False,
    checkpointing: bool = True,
) -> Cost:
    """Cost of our trainer on samples that are in memory, so that only the step is measured. A connector with fewer
    tokens trains too, so that the tower's features are cached, not its own."""
    argv = [
        "train.method=lora",
        f"lora.r={RANK}",
        f"lora.alpha={2 * RANK}",
        "lora.dropout=0",
        "train.accumulate=1",
        f"train.batch={batch}",
        f"train.pack={str(pack).lower()}",
        f"train.checkpointing={str(checkpointing).lower()}",
        f"train.steps={1 + config.steps}",
        "data.workers=0",
        "train.save_every=1000",
    ]
    connector_trains = keys.tokens_a_frame is not None
    if connector_trains:
        argv += ["lora.connector=true", "optim.lr_connector=1e-4"]
    settings = load(TrainConfig, argv)
    base = load_model(keys, "lora", precision)
    trained = make_trainable(base, processor, settings)
    scale: Callable[[torch.Tensor], torch.Tensor] = partial(normalise, processor=processor)
    if cached:
        with torch.no_grad():
            base.to(torch.device(precision.device))  # type: ignore[arg-type]
            seen = [
                forward.encode_frames(base, scale, s["frames"].to(precision.device), 16)
                for s in samples
            ]
            if not connector_trains:
                seen = [base.model.connector(features) for features in seen]
        samples = [{**s, "features": f.cpu()} for s, f in zip(samples, seen, strict=True)]
    rows = samples * (1 + config.steps)
    wanted = ["id", "input_ids", "labels", "features" if cached else "frames"]

    def given(batch: dict[str, list[int]]) -> dict[str, list[Any]]:
        return {key: [rows[i][key] for i in batch["i"]] for key in wanted}

    lengths = tuple(len(s["input_ids"]) for s in rows)
    count = tuple(range(len(rows)))
    survey = Survey(count, lengths, count, count, (), (), 0, 0, 0, 0, {})
    table = Dataset.from_dict({"i": list(count)}).with_transform(given)
    sets = Sets(table, None, survey, Split(count, (), (), 0))
    orders = orders_of(
        settings.train, settings.data, sets, ordering(settings.train, settings.data, 1)
    )
    loaded = Loaded(base, processor, sets, orders, steps=1 + config.steps, plan=None)
    trainer = make_trainer(settings, trained, loaded, precision, out, from_step=0)
    # each step takes the given samples in their order, whatever their lengths
    if pack:
        trainer.order = PackSampler(
            [LIKE_TOKENS] * len(rows), LIKE_TOKENS * len(samples), shuffle=False
        )
    else:
        trainer.order = SequentialSampler(count)  # type: ignore[assignment]
    trainer.args.disable_tqdm = True
    return cost_of(trainer, config)
