"""What a step of DPO costs beside TRL's own path for images, at a published shape: seconds and FLOPs."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from datasets import Dataset
from trl import DPOConfig, DPOTrainer

from train.batches.collate import collate
from train.batches.encode import IGNORED, Exchange, encode_text
from train.batches.frames import frame_size_px, normalise
from train.batches.trees import collate_trees
from train.bench import random_checkpoint
from train.bench.config_trained import BenchPreferConfig
from train.console import say
from train.memory.config import MODELS
from train.memory.live_bytes import LiveBytes
from train.model import forward
from train.model.load import Precision, load_model, load_processor, set_trainable
from train.preference.trainer import PairTrainer
from train.sections import LoraKeys, ModelKeys, OptimKeys

SECONDS_A_FRAME = 2.0
Batch = dict[str, Any]


def measure_cost(config: BenchPreferConfig) -> dict[str, float]:
    """Flat figures: `cost/ours/tflop`, `cost/stock/seconds`, … of one pair with LoRA, and the ratios."""
    figures: dict[str, float] = {}
    with TemporaryDirectory() as work:
        folder = random_checkpoint.build(MODELS[config.model], Path(work) / "base")
        keys = ModelKeys(name=str(folder))
        processor = load_processor(keys)
        sample = _pair(processor, config.cost_frames, config.answer_tokens)
        pad = processor.tokenizer.pad_token_id
        args = DPOConfig(
            output_dir=f"{work}/out",
            use_cpu=True,
            bf16=False,
            report_to="none",
            max_length=None,
            remove_unused_columns=False,
            gradient_checkpointing=True,
        )

        def stock_batch() -> Batch:
            rows = [
                {
                    "id": "",
                    "input_ids": sample["prompt_ids"] + said,
                    "labels": [IGNORED] * len(sample["prompt_ids"]) + said,
                    "frames": sample["frames"],
                }
                for said in sample["answer_ids"]
            ]
            padded = collate(rows, pad)
            return {
                "input_ids": padded["input_ids"],
                "attention_mask": padded["attention_mask"],
                "completion_mask": (padded["labels"] >= 0).long(),
                "pixel_values": normalise(torch.stack([sample["frames"]] * 2), processor),
            }

        ways: dict[str, tuple[type[DPOTrainer], Callable[[], Batch]]] = {
            "stock": (DPOTrainer, stock_batch),
            "ours": (PairTrainer, lambda: collate_trees([sample], pad)),
        }
        for name, (kind, batch) in ways.items():
            base = load_model(keys, "lora", Precision("cpu", torch.float32))
            torch.manual_seed(0)
            trainer = kind(
                model=set_trainable(base, "lora", LoraKeys(), OptimKeys()),
                args=args,
                train_dataset=Dataset.from_list([{"images": []}]),
                processing_class=processor,
                data_collator=_unused,
            )
            if isinstance(trainer, PairTrainer):
                trainer.scale, trainer.frames_at_once = partial(normalise, processor=processor), 64
                forward.install(base, trainer.scale, frames_at_once=64)
            figures |= {f"cost/{name}/{k}": v for k, v in _step(trainer, batch()).items()}
            del trainer, base
    for what in ("loss", "seconds", "tflop"):
        ratio = figures[f"cost/stock/{what}"] / figures[f"cost/ours/{what}"]
        figures[f"cost/stock ÷ ours/{what}"] = ratio
    say(
        f"a pair, {config.model} shapes, LoRA, {config.cost_frames} frames, {config.answer_tokens} tokens an answer: "
        f"stock {figures['cost/stock/tflop']:.2f} TFLOP, {figures['cost/stock/seconds']:.1f} s; ours "
        f"{figures['cost/ours/tflop']:.2f} TFLOP, {figures['cost/ours/seconds']:.1f} s: "
        f"{figures['cost/stock ÷ ours/tflop']:.2f} × fewer, {figures['cost/stock ÷ ours/seconds']:.2f} × faster; "
        f"losses {figures['cost/stock/loss']:.5f} and {figures['cost/ours/loss']:.5f}"
    )
    return figures


def _unused(samples: list[Any]) -> dict[str, Any]:
    """The batch is made here; the trainer reads no sample but one, of which only the column's name counts."""
    raise AssertionError("not reached")


def _step(trainer: DPOTrainer, batch: Batch) -> dict[str, float]:
    """One forward and backward pass, timed, then counted."""
    model: Any = trainer.model
    model.train()
    found: dict[str, float] = {}
    for counted in (False, True):
        given = dict(batch)
        begun = time.perf_counter()
        bytes_ = LiveBytes()
        if counted:
            with bytes_:
                trainer.compute_loss(model, given).backward()
            found["tflop"] = bytes_.flop / 1e12
        else:
            loss = trainer.compute_loss(model, given)
            loss.backward()
            found |= {"loss": float(loss.detach()), "seconds": time.perf_counter() - begun}
        model.zero_grad()
    return found


def _pair(processor: Any, frames: int, tokens: int) -> Batch:
    """Random frames, and two answers of random bytes."""
    draw = torch.Generator().manual_seed(0)
    times_s = [SECONDS_A_FRAME * i for i in range(frames)]
    talk = [Exchange("Describe the video.", None)]
    prompt, _ = encode_text(talk, times_s, SECONDS_A_FRAME * frames, processor)
    side = frame_size_px(processor)
    return {
        "id": "pair",
        "prompt_ids": prompt,
        "answer_ids": [torch.randint(3, 250, (tokens,), generator=draw).tolist() for _ in range(2)],
        "frames": torch.randint(0, 256, (frames, 3, side, side), generator=draw, dtype=torch.uint8),
    }
