"""TRL's SFTTrainer with our batches: the loop, resume, logging and the fused loss are its own."""

from __future__ import annotations

import math
import os
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel
from transformers import (
    PreTrainedModel,
    SmolVLMProcessor,
)
from trl import SFTConfig, SFTTrainer

from data.config import UserError
from train.callbacks import MetricsFile, RightEpoch
from train.collate import collate
from train.config import OptimKeys, TrainConfig
from train.dataset import Sets
from train.encode import normalise
from train.evaluation.in_training import Watch, cache_bytes
from train.messages import say
from train.model import Precision, describe_trainable, part_of
from train.run import show_example
from train.stream import Blocks

OPTIMIZERS = {
    "adamw": "adamw_torch",
    "adamw_8bit": "adamw_bnb_8bit",
    "paged_adamw_8bit": "paged_adamw_8bit",
}


class VideoTrainer(SFTTrainer):
    """Frames stay uint8 until they are on the device; a loss that is no number stops the run."""

    blocks: Blocks | None = None
    """The order of samples that are streamed."""
    watch: Watch | None = None
    """Held-out videos to describe."""

    def evaluate(self, *arguments: Any, **named: Any) -> dict[str, float]:
        """The held-out loss; when it is time, also scores of what the model says."""
        metrics = super().evaluate(*arguments, **named)
        step = self.state.global_step
        if self.watch is not None and self.watch.due(step, self.state.max_steps):
            model = self.accelerator.unwrap_model(self.model)
            said = self.watch.measure(
                model, self.accelerator, step, self.callback_handler.callbacks
            )
            self.log(dict(said))
            metrics |= said
        return metrics

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Any:
        return self.blocks or super()._get_train_sampler(train_dataset)

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        sample_ids = inputs.pop("sample_ids")
        # (1, F, 3, S, S) uint8 → float; the model casts to its own precision
        assert isinstance(self.processing_class, SmolVLMProcessor)
        inputs["pixel_values"] = normalise(inputs["pixel_values"], self.processing_class)
        result = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        loss = result[0] if return_outputs else result
        if model.training and not torch.isfinite(loss):
            raise UserError(
                f"step {self.state.global_step + 1}: the loss is {loss.item()} on samples "
                f"{', '.join(sample_ids)}; lower optim.lr, or take these samples out. "
                f"The last good checkpoint is in {self.args.output_dir}"
            )
        return result


def make_trainer(
    config: TrainConfig,
    model: PreTrainedModel | PeftModel,
    processor: SmolVLMProcessor,
    sets: Sets,
    precision: Precision,
    output: Path,
) -> VideoTrainer:
    """Our keys → the library's arguments. The only place where they meet."""
    trainer = VideoTrainer(
        model=model,
        args=_arguments(config, precision, output, sets),
        data_collator=partial(collate, pad_id=processor.tokenizer.pad_token_id),
        train_dataset=sets.train,
        eval_dataset=sets.evaluation,
        processing_class=processor,
        callbacks=[MetricsFile(output)],
    )
    if sets.groups is not None:
        trainer.blocks = Blocks(
            sets.groups,
            batch=config.train.batch,
            lanes=trainer.accelerator.num_processes * max(1, config.data.workers),
            buffer_rows=config.data.buffer,
            seed=config.train.seed,
        )
        trainer.add_callback(RightEpoch(trainer.blocks))
    if sets.held is not None and config.eval.generate_every is not None:
        trainer.watch = Watch(sets.held, processor, config.eval, config.data, output)
    if config.train.method == "qlora":
        # TRL casts adapters on a quantised model to bf16: small updates are lost, and a T4 has none
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.to(torch.float32)
    if config.train.method == "full":
        kind, options = VideoTrainer.get_optimizer_cls_and_kwargs(trainer.args)
        groups = parameter_groups(model, config.optim)
        trainer.optimizer_cls_and_kwargs = (kind, {**options, "params": groups})
    return trainer


def introduce(config: TrainConfig, trainer: VideoTrainer, sets: Sets, precision: Precision) -> None:
    """What will happen, before step 1: one example with its mask, lengths, what trains, the batch."""
    processor = trainer.processing_class
    assert isinstance(processor, SmolVLMProcessor) and trainer.model is not None
    first = sets.train[0]
    say(show_example(first["input_ids"], first["labels"], processor))
    for line in sets.survey.lines(config.data):
        say(line)
    say(f"{0 if sets.evaluation is None else len(sets.evaluation)} samples held out")
    if trainer.watch is not None:
        say(_describing(config, trainer.watch, trainer.model, max(sets.survey.tokens)))
    say(describe_trainable(trainer.model))
    devices, batch, accumulate = (
        trainer.accelerator.num_processes,
        config.train.batch,
        config.train.accumulate,
    )
    say(
        f"batch {batch} × accumulate {accumulate} × {devices} device{'s' * (devices > 1)} = "
        f"{batch * accumulate * devices} videos/step, "
        f"{steps_per_epoch(config, len(sets.train), devices)} steps/epoch, "
        f"{trainer.args.max_steps} steps; {precision.compute} on {precision.device}"
    )


def _describing(config: TrainConfig, watch: Watch, model: torch.nn.Module, longest: int) -> str:
    keys = config.eval
    held = cache_bytes(model, longest + keys.max_new_tokens, keys.batch)
    return (
        f"every {keys.generate_every} steps {min(keys.samples, len(watch.rows))} of them are described, in "
        f"{keys.max_seconds:g} s at most; that holds up to {held / 2**20:,.0f} MiB of keys and values"
    )


def fit(trainer: VideoTrainer, *, resume: bool) -> dict[str, float]:
    """Train, with the held-out answer loss before and after."""
    trainer.train(resume_from_checkpoint=resume)
    results: dict[str, float] = {"steps": trainer.state.global_step}
    if trainer.eval_dataset is None:
        return results
    seen = {
        row["step"]: row["eval_loss"] for row in trainer.state.log_history if "eval_loss" in row
    }
    last = trainer.state.global_step
    before = seen.get(0)
    best = trainer.state.best_global_step if trainer.args.load_best_model_at_end else None
    if best:
        results["best_step"], last = best, best
        say(
            f"step {best} is the best by {trainer.args.metric_for_best_model} ({trainer.state.best_metric:.4f}) and is kept"
        )
    after = seen[last] if last in seen else trainer.evaluate()["eval_loss"]
    if before is not None:
        results["eval_loss_before"] = before
    results["eval_loss_after"] = after
    say(
        f"held-out answer loss: {f'{before:.3f} before, ' if before is not None else ''}{after:.3f} after"
    )
    return results


def steps_per_epoch(config: TrainConfig, num_samples: int, num_devices: int) -> int:
    """Optimizer steps in one pass over the data."""
    batches = math.ceil(num_samples / num_devices / config.train.batch)
    return max(1, math.ceil(batches / config.train.accumulate))


def parameter_groups(model: torch.nn.Module, optim: OptimKeys) -> list[dict[str, Any]]:
    """A learning rate each for vision, connector and language model; only matrices decay."""
    rates = {
        "vision": optim.lr_vision or 0.0,
        "connector": optim.lr if optim.lr_connector is None else optim.lr_connector,
        "llm": optim.lr,
    }
    groups: dict[tuple[str, bool], list[torch.nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((part_of(name), parameter.ndim >= 2), []).append(parameter)
    return [
        {
            "params": members,
            "lr": rates[part],
            "weight_decay": optim.weight_decay if decays else 0.0,
        }
        for (part, decays), members in sorted(groups.items(), key=lambda item: item[0])
    ]


def _arguments(config: TrainConfig, precision: Precision, output: Path, sets: Sets) -> SFTConfig:
    train, optim = config.train, config.optim
    on_gpu = precision.device == "cuda"
    mixed = (
        {torch.bfloat16: "bf16", torch.float16: "fp16"}.get(precision.compute, "no")
        if on_gpu
        else "no"
    )
    os.environ["ACCELERATE_MIXED_PRECISION"] = (
        mixed  # ours, not that of the user's accelerate config
    )
    per_epoch = steps_per_epoch(config, len(sets.train), int(os.environ.get("WORLD_SIZE", "1")))
    steps = train.steps or math.ceil(train.epochs * per_epoch)
    every = min(config.eval_every or per_epoch, steps)
    best = config.eval.best
    return SFTConfig(
        output_dir=str(output),
        per_device_train_batch_size=train.batch,
        per_device_eval_batch_size=train.batch,
        gradient_accumulation_steps=train.accumulate,
        max_steps=steps,
        learning_rate=optim.lr,
        lr_scheduler_type=optim.schedule,
        warmup_steps=optim.warmup,
        weight_decay=optim.weight_decay,
        adam_beta2=optim.beta2,
        max_grad_norm=optim.clip,
        optim=OPTIMIZERS[optim.name],
        bf16=mixed == "bf16",
        fp16=mixed == "fp16",
        use_cpu=not on_gpu,
        gradient_checkpointing=train.checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False} if train.checkpointing else None,
        seed=train.seed,
        logging_steps=train.log_every,
        logging_first_step=True,
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=train.save_every if best == "none" else every,
        load_best_model_at_end=best != "none",
        metric_for_best_model=None if best == "none" else f"eval_{best}",
        greater_is_better=best in ("soda_c", "judge"),
        save_total_limit=train.keep,
        report_to=config.log.to,
        project=config.log.project,
        run_name=output.name,
        dataloader_num_workers=config.data.workers,
        dataloader_pin_memory=on_gpu,
        prediction_loss_only=True,
        # our own dataset, collator and labels: the library must touch none of them
        max_length=None,
        remove_unused_columns=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        completion_only_loss=False,
        ddp_find_unused_parameters=False,
        eval_strategy="no" if sets.evaluation is None else "steps",
        # before step 1 by the loop itself: calling evaluate() first would leave DDP unwrapped
        eval_on_start=sets.evaluation is not None and not train.resume,
        eval_steps=every,
    )
