"""Our keys → the arguments of TRL's trainers. No other file maps them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from trl import SFTConfig

from train.config import TrainConfig
from train.loop.loading import Loaded
from train.model.load import Precision, part_of
from train.model.muon import trains_by_muon
from train.run.schedule import SCHEDULES, total_steps
from train.sections import OptimKeys

OPTIMIZERS = {
    "adamw": "adamw_torch_fused",
    "adamw_8bit": "adamw_bnb_8bit",
    "paged_adamw_8bit": "paged_adamw_8bit",
    "muon": "adamw_torch",  # for what it leaves to AdamW; `train.model.muon`
}


def parameter_groups(model: torch.nn.Module, optim: OptimKeys) -> list[dict[str, Any]]:
    """Parameter groups of the optimizer: one learning rate each for vision tower, connector and language
    model; weight decay on matrices only. With `optim.name=muon` the layers' matrices are groups of their own."""
    rates = optim.rates()
    groups: dict[tuple[str, bool, bool], list[torch.nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            muon = optim.name == "muon" and trains_by_muon(name, parameter)
            kind = (part_of(name), parameter.ndim >= 2, muon)
            groups.setdefault(kind, []).append(parameter)
    return [
        {
            "params": members,
            "part": part,
            "muon": muon,
            "lr": rates[part],
            "weight_decay": optim.weight_decay if decays else 0.0,
        }
        for (part, decays, muon), members in sorted(groups.items(), key=lambda item: item[0])
    ]


def arguments(
    config: TrainConfig, loaded: Loaded, precision: Precision, output: Path, from_step: int
) -> dict[str, Any]:
    """The arguments that all of TRL's trainers take, for a run.

    Args:
        from_step: step of the checkpoint that is resumed; 0 for a new run.
    """
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
    per_epoch, held_out = loaded.orders.steps_per_epoch, loaded.sets.evaluation is not None
    steps = total_steps(config.train, per_epoch)
    every = min(config.eval_every or per_epoch, steps)
    save_every = train.save_every or min(500, max(10, steps // 10))
    best = config.eval.best
    return {
        "output_dir": str(output),
        "per_device_train_batch_size": train.batch,
        "per_device_eval_batch_size": train.batch,
        "gradient_accumulation_steps": train.accumulate,
        "max_steps": steps,
        "learning_rate": optim.lr,
        "lr_scheduler_type": SCHEDULES[optim.schedule],
        "warmup_steps": optim.warmup,
        "weight_decay": optim.weight_decay,
        "adam_beta2": optim.beta2,
        "max_grad_norm": optim.clip,
        "optim": OPTIMIZERS[optim.name],
        "bf16": mixed == "bf16",
        "fp16": mixed == "fp16",
        "use_cpu": not on_gpu,
        "gradient_checkpointing": train.checkpointing,
        "gradient_checkpointing_kwargs": {"use_reentrant": False} if train.checkpointing else None,
        "seed": train.seed,
        "logging_steps": train.log_every,
        "logging_first_step": True,
        "logging_nan_inf_filter": False,
        "save_strategy": "steps",
        "save_steps": save_every if best == "none" else every,
        "load_best_model_at_end": best != "none",
        "metric_for_best_model": None if best == "none" else f"eval_{best}",
        "greater_is_better": best in ("soda_c", "judge"),
        "save_total_limit": None,  # `train.loop.callbacks.RemoveOldCheckpoints`
        "report_to": "none",  # `train.run.trackers`
        "project": config.log.project,
        "run_name": output.name,
        "dataloader_num_workers": config.data.workers,
        # where they are spawned (macOS), each start imports everything: once, not at each epoch and evaluation
        "dataloader_persistent_workers": config.data.workers > 0,
        "dataloader_pin_memory": on_gpu,
        "prediction_loss_only": True,
        "remove_unused_columns": False,
        "ddp_find_unused_parameters": False,
        "eval_strategy": "steps" if held_out else "no",
        # the loop itself evaluates before step 1: calling evaluate() first would leave DDP unwrapped
        "eval_on_start": held_out and from_step == 0,
        "eval_steps": every,
    }


def sft_arguments(common: dict[str, Any], *, offload: bool, use_cache: bool) -> SFTConfig:
    """The arguments of TRL's SFTTrainer.

    Args:
        offload: as `train.offload`.
        use_cache: only the value for the model's configuration; training never uses a KV cache.
    """
    return SFTConfig(
        **common,
        activation_offloading=offload,
        max_length=None,
        # our own dataset, collator and labels: the library must touch none of them
        dataset_kwargs={"skip_prepare_dataset": True},
        completion_only_loss=False,
        use_cache=use_cache,
    )
