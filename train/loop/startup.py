"""The summary that a run prints before step 1."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import SmolVLMProcessor

from train.batches.encode import IGNORED
from train.batches.samplers import LengthGroupedSampler, PackSampler, padding_share
from train.config import TrainConfig
from train.console import say
from train.evaluation.in_training import GenerationEval
from train.loop.guards import Guarded
from train.loop.loading import Loaded
from train.memory.estimate import cache_bytes
from train.model.load import Precision, describe_trainable
from train.run.schedule import steps_per_epoch
from train.sections import EvalKeys, TrainKeys


def print_startup_summary(
    config: TrainConfig, trainer: Guarded, loaded: Loaded, precision: Precision
) -> None:
    """Print the summary: one example with its label mask, token lengths, what trains, the batch."""
    sets = loaded.sets
    assert trainer.model is not None
    first = sets.train[0]
    say(show_example(*_ids_and_labels(first), loaded.processor))
    for line in sets.survey.lines(config.data):
        say(line)
    if config.data.marks is not None:
        say(f"{sets.split.dropped} rows left out, marked drop in {config.data.marks}")
    held = 0 if sets.evaluation is None else len(sets.evaluation)
    several = len(sets.split.held) != sets.split.videos
    say(f"{held} samples held out{f', all of {sets.split.videos} videos' if several else ''}")
    if trainer.generation is not None:
        say(
            _generation_line(
                config.eval, trainer.generation, trainer.model, precision, max(sets.survey.tokens)
            )
        )
    say(describe_trainable(trainer.model))
    say(_padding_line(config.train, trainer, sets.survey.tokens))
    devices, batch, accumulate = (
        trainer.accelerator.num_processes,
        config.train.batch,
        config.train.accumulate,
    )
    say(
        f"batch {batch} × accumulate {accumulate} × {devices} device{'s' * (devices > 1)} = "
        f"{batch * accumulate * devices} {'rows' if config.train.pack else 'videos'}/step, "
        f"{steps_per_epoch(config.train, len(trainer.order or sets.train), devices)} steps/epoch, "
        f"{trainer.args.max_steps} steps; {precision.compute} on {precision.device}"
    )
    if loaded.plan is not None:
        say(f"plan: {loaded.plan.line()}")


def _ids_and_labels(sample: Mapping[str, Any]) -> tuple[list[int], list[int]]:
    """Those of a sample; of a tree, its prompt and one answer after the other."""
    if "labels" in sample:
        return sample["input_ids"], sample["labels"]
    said = [token for answer in sample["answer_ids"] for token in answer]
    return sample["prompt_ids"] + said, [IGNORED] * len(sample["prompt_ids"]) + said


def _generation_line(
    keys: EvalKeys,
    generation: GenerationEval,
    model: torch.nn.Module,
    precision: Precision,
    longest: int,
) -> str:
    shape: Any = model.config
    held = cache_bytes(shape, (longest + keys.max_new_tokens) * keys.batch, precision.compute)
    return (
        f"every {keys.generate_every} steps {min(keys.samples, len(generation.rows))} of them are described, in "
        f"{keys.max_seconds:g} s at most; that holds up to {held / 2**20:,.0f} MiB of KV cache"
    )


def _padding_line(train: TrainKeys, trainer: Guarded, lengths: tuple[int, ...]) -> str:
    """A line on packing, or on the share of tokens that are padding."""
    order, size = trainer.order, train.batch
    if isinstance(order, PackSampler):
        return (
            f"packed: {len(lengths)} samples in {len(order)} rows of up to {train.pack_tokens} "
            f"tokens, {order.fill:.1%} full, no padding"
        )
    if not isinstance(order, LengthGroupedSampler):
        return (
            "no padding: one video at a time"
            if size == 1
            else "padding: by the order of the stream"
        )
    seen = [lengths[i] for i in order]
    batches = [seen[i : i + size] for i in range(0, len(seen), size)]
    return f"padding: {padding_share(batches):.1%} of tokens (batches of similar length)"


def show_example(ids: Sequence[int], labels: Sequence[int], processor: SmolVLMProcessor) -> str:
    """One sample as text, as the model gets it: frames abbreviated, supervised tokens marked.

    Example:
        Frame from 00:04:<frame ×64>
        … Assistant:«[00:00 - 00:02] a dog runs.<end_of_utterance>»
    """
    pieces, learned = [], False
    run: list[int] = []
    opening, closing = ("\033[1;32m", "\033[0m") if sys.stdout.isatty() else ("«", "»")

    def flush() -> None:
        text = processor.tokenizer.decode(run, skip_special_tokens=False)
        pieces.append(opening + text + closing if learned else text)
        run.clear()

    for token, label in zip(ids, labels, strict=True):
        if (label >= 0) != learned:
            flush()
            learned = label >= 0
        run.append(token)
    flush()
    fake, image = re.escape(processor.fake_image_token), re.escape(processor.image_token)
    frame = re.compile(rf"{fake}{re.escape(processor.global_image_token)}((?:{image})+){fake}")
    length = len(processor.image_token)
    return frame.sub(lambda m: f"<frame ×{len(m[1]) // length}>", "".join(pieces))
