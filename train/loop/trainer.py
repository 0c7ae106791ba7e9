"""TRL's SFTTrainer with our batches. The loop, resume, logging and the fused loss are TRL's."""

from __future__ import annotations

import math
from collections import deque
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel
from torch.utils.data import DataLoader
from transformers import PreTrainedModel
from trl import SFTTrainer

from data.errors import UserError
from train.batches.collate import collate, collate_bins
from train.batches.samplers import Order, PackedDataset, PackSampler
from train.config import TrainConfig
from train.evaluation.in_training import GenerationEval
from train.loop.arguments import arguments, parameter_groups
from train.loop.callbacks import add_callbacks
from train.loop.loading import HeldOut, Loaded
from train.loop.throughput import ThroughputMeter, learning_rates
from train.model.library_checks import TRAINER, check_overrides
from train.model.load import Precision, disable_lora_input_cast
from train.model.muon import Muon
from train.run.folder import complete_checkpoints
from train.run.portable import make_portable
from train.run.saving import saving

SCALER_PATIENCE = 20
"""fp16 skips a step whose gradients overflow and lowers the loss scale. More such steps in a row than this
stop the run."""


class VideoTrainer(SFTTrainer):
    """SFTTrainer with our batches and samplers. A loss or gradient norm that is not finite stops the run."""

    order: Order | None = None
    """Sampler of samples, or of packs of them; None: the library's random one."""
    eval_order: PackSampler | None = None
    also: HeldOut | None = None
    """Other samples of which the loss is logged too, as `eval_also_loss`."""
    generation: GenerationEval | None = None
    """Describes held-out videos; None: does not."""
    nothing_left: bool = False
    """The run is resumed from a checkpoint of its last step: only the work after training is left."""

    def __init__(self, *arguments: Any, **named: Any):
        super().__init__(*arguments, **named)
        self._recent: deque[str] = deque(maxlen=1024)  # samples since the last optimizer step
        self._overflows = 0
        self._meter = ThroughputMeter()

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log a row; a row with a loss also gets videos and tokens per second, memory, learning rates."""
        if "loss" in logs:
            logs |= self._meter.read(self.accelerator.num_processes)
            logs |= learning_rates(self.optimizer)
        super().log(logs, start_time)

    def evaluate(self, *arguments: Any, **named: Any) -> dict[str, float]:
        """The held-out loss; when it is due, also scores of generated descriptions."""
        metrics = super().evaluate(*arguments, **named)
        if self.also is not None:
            metrics |= self._evaluate_also(self.also)
        step = self.state.global_step
        if self.generation is not None and self.generation.is_due(step, self.state.max_steps):
            # save first: generation takes minutes, in which the machine may be lost
            if self.control.should_save:
                self._save_checkpoint(self.model, trial=None)
                self.control = self.callback_handler.on_save(self.args, self.state, self.control)
                self.control.should_save = False
            model = self.accelerator.unwrap_model(self.model)
            scores = self.generation.run(model, self.accelerator, step)
            self.log(dict(scores))
            metrics |= scores
        # a generation that failed is a gap in the curve, and never the best
        name = self.args.metric_for_best_model
        if name is not None and name.startswith("eval_"):
            metrics.setdefault(name, math.nan)
        self._meter.start()
        return metrics

    def _evaluate_also(self, also: HeldOut) -> dict[str, float]:
        # by name: the library keeps one loader of persistent workers for each named dataset
        own = self.eval_dataset, self.eval_order
        self.eval_dataset, self.eval_order = {"also": also.samples}, also.order
        try:
            return super().evaluate("also", metric_key_prefix="eval_also")
        finally:
            self.eval_dataset, self.eval_order = own

    def evaluation_loop(self, *arguments: Any, **named: Any) -> Any:
        """Held-out metrics as means over all supervised tokens, whatever the batches and devices."""
        self._sums: list[torch.Tensor] = []
        out = super().evaluation_loop(*arguments, **named)
        tokens, *sums = torch.cat(self._sums).sum(dim=0).tolist()  # (items, 4)
        assert out.metrics is not None
        prefix = named.get("metric_key_prefix", "eval")
        for name, value in zip(("loss", "mean_token_accuracy", "entropy"), sums, strict=True):
            out.metrics[f"{prefix}_{name}"] = value / max(tokens, 1)
        return out

    def prediction_step(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> Any:
        """Sum the head's figures over the supervised tokens of each item (a sample, or a pack of them).
        The loader repeats some items so that all processes have equally many. With one row per item,
        gathering drops the repeated items and no others."""
        given = self._prepare_inputs({k: v for k, v in inputs.items() if k != "sample_ids"})
        items, length = given["input_ids"].shape
        with torch.no_grad(), self.compute_loss_context_manager():
            out: Any = model(**given, use_cache=False, fused_lm_head=True)
        ours = (torch.ones_like(out.log_probs), -out.log_probs, out.is_top1, out.entropy)
        figures = torch.stack([f.flatten().double() for f in ours], dim=1)  # (answers, 4)
        sums = figures.new_zeros(items, 4).index_add(0, given["answers"] // length, figures)
        self._sums.append(self.accelerator.gather_for_metrics(sums))
        return (sums[:, 1].sum() / sums[:, 0].sum().clamp(min=1)).float(), None, None

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """TRL's loss; the head gets only the hidden states of the answers (`train.model.forward`)."""
        sample_ids, tokens = inputs.pop("sample_ids"), inputs["input_ids"].numel()
        result = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        loss = result[0] if return_outputs else result
        if model.training:
            self._recent.extend(sample_ids)
            self._meter.add(len(sample_ids), tokens)
            if not torch.isfinite(loss):
                raise self._not_finite(f"the loss is {loss.item()}", sample_ids)
        return result

    def _not_finite(self, what: str, sample_ids: list[str]) -> UserError:
        shown = ", ".join(sample_ids[:8]) + (", …" if len(sample_ids) > 8 else "")
        kept = complete_checkpoints(Path(str(self.args.output_dir)))
        saved = f"the last good checkpoint is {kept[-1]}" if kept else "no checkpoint was saved yet"
        return UserError(
            f"step {self.state.global_step + 1}: {what} on samples {shown}; lower optim.lr, or take "
            f"these samples out; {saved}"
        )

    # --- library internals: `train.model.library_checks` checks at import that they exist --------------

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Save as the library does. A full disk is an error of one line and leaves no partial checkpoint.

        Raises:
            UserError: it cannot be written; the message says what is safe.
        """
        output = Path(str(self.args.output_dir))
        with saving(output, f"checkpoint-{self.state.global_step}"):
            super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()  # all see the same checkpoints from here on

    def _save(
        self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None
    ) -> None:
        super()._save(output_dir, state_dict)
        if output_dir is not None and self.args.should_save:
            # a checkpoint of full fine-tuning is a whole model, for other programs too
            make_portable(Path(output_dir))

    def set_initial_training_values(self, *arguments: Any, **named: Any) -> Any:
        epochs, *rest = super().set_initial_training_values(*arguments, **named)
        return (0 if self.nothing_left else epochs, *rest)

    def get_decay_parameter_names(self, model: torch.nn.Module) -> list[str]:
        """Names of the weights that decay: matrices only. The library exempts biases and norms by name,
        but not the vectors of DoRA."""
        return [name for name, parameter in model.named_parameters() if parameter.ndim >= 2]

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Any:
        return self.order or super()._get_train_sampler(train_dataset)

    def _get_eval_sampler(self, eval_dataset: Dataset) -> Any:
        return self.eval_order or super()._get_eval_sampler(eval_dataset)

    def _get_dataloader(self, dataset: Dataset, *arguments: Any, **named: Any) -> DataLoader:
        order = self.order if named.get("is_training") else self.eval_order
        packed = PackedDataset(dataset, len(order)) if isinstance(order, PackSampler) else dataset
        return super()._get_dataloader(packed, *arguments, **named)

    def _clip_grad_norm(self, model: torch.nn.Module) -> Any:
        norm = super()._clip_grad_norm(model)
        if math.isfinite(float(norm)):
            self._overflows = 0
        else:
            self._overflows += 1
            if self.accelerator.scaler is None or self._overflows > SCALER_PATIENCE:
                raise self._not_finite(f"the gradients' norm is {float(norm)}", list(self._recent))
        self._recent.clear()
        return norm


check_overrides(SFTTrainer, TRAINER, "trl")


def make_trainer(
    config: TrainConfig,
    model: PreTrainedModel | PeftModel,
    loaded: Loaded,
    precision: Precision,
    output: Path,
    from_step: int,
) -> VideoTrainer:
    """The trainer of a run, for a model with our forward pass (`train.model.forward.install`).

    Args:
        from_step: step of the checkpoint that is resumed; 0 for a new run.
    """
    sets, orders, processor = loaded.sets, loaded.orders, loaded.processor
    args = arguments(
        config,
        precision,
        output,
        per_epoch=orders.steps_per_epoch,
        held_out=sets.evaluation is not None,
        from_step=from_step,
        use_cache=bool(model.config.use_cache),
    )
    adapter = {n: p.data for n, p in model.named_parameters() if p.requires_grad}
    trainer = VideoTrainer(
        model=model,
        args=args,
        data_collator=collate_bins
        if config.train.pack
        else partial(collate, pad_id=processor.tokenizer.pad_token_id),
        train_dataset=sets.train,
        eval_dataset=sets.evaluation,
        processing_class=processor,
        callbacks=[],
    )
    trainer.order, trainer.eval_order = orders.train, orders.evaluation
    trainer.also = loaded.also
    trainer.nothing_left = from_step > 0 and from_step >= args.max_steps
    trackers = add_callbacks(trainer, config, orders.train, sets.held, output, from_step)
    if sets.held is not None and config.eval.generate_every is not None:
        trainer.generation = GenerationEval(
            sets.held, processor, config.eval, config.data, output, trackers
        )
    if config.train.method == "qlora":
        # TRL casts adapters on a quantised model to bf16: small updates are lost, as is what an adapter that goes on
        # has learned, and a T4 has no bf16
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.data = adapter[name].to(parameter.device)
    if precision.device == "cuda" and precision.compute is not torch.float32:
        disable_lora_input_cast(model)
    if config.train.method == "full":
        kind, options = VideoTrainer.get_optimizer_cls_and_kwargs(trainer.args)
        groups = parameter_groups(model, config.optim)
        if config.optim.name == "muon":
            kind = Muon
        trainer.optimizer_cls_and_kwargs = (kind, {**options, "params": groups})
    return trainer
