"""What every trainer here adds to the library's: our batches' order, a run that stops at a loss that is not finite,
checkpoints that a full disk does not break, descriptions of held-out videos."""

from __future__ import annotations

import math
from collections import deque
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch.utils.data import DataLoader
from transformers import Trainer

from data.errors import UserError
from train.batches.samplers import Order, PackedDataset, PackSampler
from train.evaluation.in_training import GenerationEval
from train.loop.throughput import ThroughputMeter, learning_rates
from train.run.folder import complete_checkpoints
from train.run.portable import make_portable
from train.run.saving import saving

SCALER_PATIENCE = 20
"""fp16 skips a step whose gradients overflow and lowers the loss scale. More such steps in a row than this
stop the run."""


class Guarded(Trainer):
    """Stands before one of TRL's trainers in the bases of ours. A loss or gradient norm that is not finite stops the
    run."""

    order: Order | None = None
    """Sampler of samples, or of packs of them; None: the library's random one."""
    eval_order: PackSampler | None = None
    generation: GenerationEval | None = None
    """Describes held-out videos; None: does not."""
    loss_name: str = "completion loss"
    """Of the loss on held-out samples."""
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
        metrics |= self.evaluated_beside(metrics.get("eval_loss", math.nan))
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

    def evaluated_beside(self, loss: float) -> dict[str, float]:
        """Metrics of other held-out samples; `loss` is that of the run's own."""
        return {}

    def count(self, sample_ids: list[str], tokens: int, loss: torch.Tensor) -> None:
        """Note what a training step saw.

        Raises:
            UserError: its loss is not finite.
        """
        self._recent.extend(sample_ids)
        self._meter.add(len(sample_ids), tokens)
        if not torch.isfinite(loss):
            raise self._not_finite(f"the loss is {loss.item()}", sample_ids)

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
