"""TRL's SFTTrainer with our batches: the loop, resume, logging and the fused loss are its own."""

from __future__ import annotations

import math
import os
from collections import deque
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel
from torch.utils.data import DataLoader
from transformers import PreTrainedModel, SmolVLMProcessor
from trl import SFTTrainer

from data.config import UserError
from train.arguments import arguments, parameter_groups
from train.callbacks import MetricsFile, PushCheckpoints, RightEpoch, RunPage, TowerAway
from train.collate import collate, collate_bins
from train.config import TrainConfig
from train.dataset import Sets
from train.evaluation.in_training import Watch
from train.messages import say
from train.meter import Meter, learning_rates
from train.model import Precision, cast_by_autocast
from train.order import Grouped, Order, Packs, Several
from train.sharded import sharding, weights_shared
from train.stream import Blocks

SCALER_PATIENCE = 20
"""fp16 skips a step whose gradients overflow, and lowers its scale: so many in a row are a failure."""


class VideoTrainer(SFTTrainer):
    """Our batches and their order; a loss or a gradient that is no number stops the run."""

    order: Order | None = None
    """Of samples, or of packs of them; None: the library's random one."""
    eval_order: Packs | None = None
    watch: Watch | None = None
    """Held-out videos to describe."""

    def __init__(self, *arguments: Any, **named: Any):
        super().__init__(*arguments, **named)
        self._recent: deque[str] = deque(maxlen=1024)  # samples since the last optimizer step
        self._overflows = 0
        self._meter = Meter()

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """With every loss: videos and tokens a second, memory, learning rates."""
        if "loss" in logs:
            logs |= self._meter.read(self.accelerator.num_processes)
            logs |= learning_rates(self.optimizer)
        super().log(logs, start_time)

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
        self._meter.start()
        return metrics

    def evaluation_loop(self, *arguments: Any, **named: Any) -> Any:
        """The loss of a held-out set is a mean over its answer tokens, however they are batched."""
        self._sums: list[torch.Tensor] = []
        out = super().evaluation_loop(*arguments, **named)
        loss, tokens = torch.cat(self._sums).sum(dim=0).tolist()  # (items, 2)
        assert out.metrics is not None
        out.metrics[f"{named.get('metric_key_prefix', 'eval')}_loss"] = loss / max(tokens, 1)
        return out

    def prediction_step(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> Any:
        items = len(inputs["input_ids"])
        tokens = inputs["shift_labels"].numel()
        loss, *rest = super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)
        share = torch.stack([loss.double() * tokens, loss.new_tensor(tokens).double()]) / items
        # a row per item: the loader repeats some so that all processes have as many, and these go
        self._sums.append(self.accelerator.gather_for_metrics(share.expand(items, 2).contiguous()))
        return (loss, *rest)

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Any:
        return self.order or super()._get_train_sampler(train_dataset)

    def _get_eval_sampler(self, eval_dataset: Dataset) -> Any:
        return self.eval_order or super()._get_eval_sampler(eval_dataset)

    def _get_dataloader(self, dataset: Dataset, *arguments: Any, **named: Any) -> DataLoader:
        order = self.order if named.get("is_training") else self.eval_order
        packed = Several(dataset, len(order)) if isinstance(order, Packs) else dataset
        return super()._get_dataloader(packed, *arguments, **named)

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """TRL's, whose head sees the answers' states only (`train.forward`)."""
        sample_ids, tokens = inputs.pop("sample_ids"), inputs["input_ids"].numel()
        result = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        loss = result[0] if return_outputs else result
        if model.training:
            self._recent.extend(sample_ids)
            self._meter.saw(len(sample_ids), tokens)
            if not torch.isfinite(loss):
                raise self._broken(f"the loss is {loss.item()}", sample_ids)
        return result

    def _clip_grad_norm(self, model: torch.nn.Module) -> Any:
        norm = super()._clip_grad_norm(model)
        if math.isfinite(float(norm)):
            self._overflows = 0
        else:
            self._overflows += 1
            if self.accelerator.scaler is None or self._overflows > SCALER_PATIENCE:
                raise self._broken(f"the gradients' norm is {float(norm)}", list(self._recent))
        self._recent.clear()
        return norm

    def _broken(self, what: str, sample_ids: list[str]) -> UserError:
        shown = ", ".join(sample_ids[:8]) + (", …" if len(sample_ids) > 8 else "")
        kept = sorted(Path(str(self.args.output_dir)).glob("checkpoint-*"), key=os.path.getmtime)
        saved = f"the last good checkpoint is {kept[-1]}" if kept else "no checkpoint was saved yet"
        return UserError(
            f"step {self.state.global_step + 1}: {what} on samples {shown}; lower optim.lr, or take "
            f"these samples out; {saved}"
        )


def make_trainer(
    config: TrainConfig,
    model: PreTrainedModel | PeftModel,
    processor: SmolVLMProcessor,
    sets: Sets,
    precision: Precision,
    output: Path,
) -> VideoTrainer:
    """The trainer of a run; the model's forward is ours already (`train.forward.install`).

    Raises:
        UserError: a sample is longer than a pack, or a key needs a GPU, or all weights on each.
    """
    if config.eval.generate_every is not None and weights_shared():
        raise UserError(
            f"eval.generate_every={config.eval.generate_every}: describing needs all weights on each device, "
            f"and {sharding()} shares them out; leave it out, and score the run with scripts/evaluate.py"
        )
    devices = int(os.environ.get("WORLD_SIZE", "1"))
    order, eval_order = _orders(config, sets, devices)
    args = arguments(
        config,
        precision,
        output,
        per_epoch=steps_per_epoch(config, len(order or sets.train), devices),
        held_out=sets.evaluation is not None,
    )
    trainer = VideoTrainer(
        model=model,
        args=args,
        data_collator=collate_bins
        if config.train.pack
        else partial(collate, pad_id=processor.tokenizer.pad_token_id),
        train_dataset=sets.train,
        eval_dataset=sets.evaluation,
        processing_class=processor,
        callbacks=[MetricsFile(output), RunPage(output, sets.held)],
    )
    trainer.order, trainer.eval_order = order, eval_order
    if order is not None:
        trainer.add_callback(RightEpoch(order))
    describes = config.eval.generate_every is not None
    if config.data.features and not describes and devices == 1:
        trainer.add_callback(TowerAway())
    if config.hub.checkpoints:
        trainer.add_callback(PushCheckpoints(config.hub))
    if sets.held is not None and config.eval.generate_every is not None:
        trainer.watch = Watch(sets.held, processor, config.eval, config.data, output)
    if config.train.method == "qlora":
        # TRL casts adapters on a quantised model to bf16: small updates are lost, and a T4 has none
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.to(torch.float32)
    if precision.device == "cuda" and precision.compute is not torch.float32:
        cast_by_autocast(model)
    if config.train.method == "full":
        kind, options = VideoTrainer.get_optimizer_cls_and_kwargs(trainer.args)
        groups = parameter_groups(model, config.optim)
        trainer.optimizer_cls_and_kwargs = (kind, {**options, "params": groups})
    return trainer


def _orders(config: TrainConfig, sets: Sets, devices: int) -> tuple[Order | None, Packs | None]:
    """How training and held-out samples are drawn."""
    train, lengths = config.train, sets.survey.tokens
    if train.pack:
        longest = max((*lengths, *sets.eval_tokens))
        if longest > train.pack_tokens:
            raise UserError(
                f"train.pack_tokens={train.pack_tokens}: the longest sample has {longest} tokens; raise it, "
                f"or shorten samples with data.max_tokens={train.pack_tokens}"
            )
        held = sets.eval_tokens and Packs(sets.eval_tokens, train.pack_tokens, shuffle=False)
        return Packs(lengths, train.pack_tokens, seed=train.seed), held or None
    if sets.groups is not None:
        lanes = devices * max(1, config.data.workers)
        return Blocks(
            sets.groups,
            batch=train.batch,
            lanes=lanes,
            buffer_rows=config.data.buffer,
            seed=train.seed,
        ), None
    if train.batch > 1:
        return Grouped(
            lengths, step=train.batch * train.accumulate * devices, seed=train.seed
        ), None
    return None, None


def fit(trainer: VideoTrainer, *, resume: Path | None) -> dict[str, float]:
    """Train, from a checkpoint on if there is one; with the held-out answer loss before and after."""
    trainer.train(resume_from_checkpoint=None if resume is None else str(resume))
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


def whole_weights(trainer: VideoTrainer) -> dict[str, torch.Tensor] | None:
    """Weights that lie in pieces on several devices, put together; all processes must ask at once.

    Returns None where the model has them all already.
    """
    if not (trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled):
        return None
    return trainer.accelerator.get_state_dict(trainer.model_wrapped)


def steps_per_epoch(config: TrainConfig, num_items: int, num_devices: int) -> int:
    """Optimizer steps in one pass over the data: `num_items` samples, or packs of them."""
    batches = math.ceil(num_items / num_devices / config.train.batch)
    return max(1, math.ceil(batches / config.train.accumulate))
