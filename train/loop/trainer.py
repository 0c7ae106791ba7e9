"""TRL's SFTTrainer with our batches. The loop, resume, logging and the fused loss are TRL's."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from peft import PeftModel
from transformers import PreTrainedModel, Trainer
from trl import SFTTrainer

from train.batches.collate import collate, collate_bins
from train.config import TrainConfig
from train.evaluation.in_training import GenerationEval
from train.loop.arguments import arguments, parameter_groups, sft_arguments
from train.loop.callbacks import add_callbacks
from train.loop.guards import Guarded
from train.loop.loading import SWAPPED, HeldOut, Loaded
from train.model.library_checks import TRAINER, check_overrides
from train.model.load import Precision, disable_lora_input_cast
from train.model.muon import Muon

BLANK_LOSS = "eval_blank_loss"


class VideoTrainer(Guarded, SFTTrainer):
    """SFTTrainer with our batches and samplers."""

    beside: Mapping[str, HeldOut] = MappingProxyType({})
    """By name, other samples of which the loss is logged too, as `eval_<name>_loss`."""

    def evaluated_beside(self, loss: float) -> dict[str, float]:
        at_an_end = self.state.global_step in (0, self.state.max_steps)
        found: dict[str, float] = {}
        for name, other in self.beside.items():
            if at_an_end or name not in SWAPPED:
                found |= self._evaluated(name, other)
        if BLANK_LOSS in found:
            found["eval_worth"] = found[BLANK_LOSS] - loss
            self.log({"eval_worth": found["eval_worth"]})
        return found

    def _evaluated(self, name: str, other: HeldOut) -> dict[str, float]:
        # by name: the library keeps one loader of persistent workers for each named dataset
        own = self.eval_dataset, self.eval_order
        self.eval_dataset, self.eval_order = {name: other.samples}, other.order
        try:
            return SFTTrainer.evaluate(self, name, metric_key_prefix=f"eval_{name}")
        finally:
            self.eval_dataset, self.eval_order = own
            if name in SWAPPED and self.args.dataloader_persistent_workers:
                self._eval_dataloaders.pop(name)  # not needed again before the end

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
            self.count(sample_ids, tokens, loss)
        return result


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
    sets, processor = loaded.sets, loaded.processor
    common = arguments(config, loaded, precision, output, from_step)
    use_cache = bool(model.config.use_cache)
    args = sft_arguments(common, offload=config.train.offload, use_cache=use_cache)
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
    trainer.beside = loaded.beside
    made_ready(trainer, config, model, loaded, precision, output, from_step, adapter)
    return trainer


def made_ready(
    trainer: Guarded,
    config: TrainConfig,
    model: PreTrainedModel | PeftModel,
    loaded: Loaded,
    precision: Precision,
    output: Path,
    from_step: int,
    adapter: Mapping[str, torch.Tensor],
) -> None:
    """Give a trainer what the library's does not take: samplers, callbacks, descriptions of held-out videos, learning
    rates of parts.

    Args:
        adapter: what trains, by name, as it was before the library's trainer was made.
    """
    sets, orders, args = loaded.sets, loaded.orders, trainer.args
    trainer.order, trainer.eval_order = orders.train, orders.evaluation
    trainer.nothing_left = from_step > 0 and from_step >= args.max_steps
    trackers = add_callbacks(trainer, config, orders.train, sets.held, output, from_step)
    if sets.held is not None and config.eval.generate_every is not None:
        trainer.generation = GenerationEval(
            sets.held, loaded.processor, config.eval, config.data, output, trackers
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
        kind, options = Trainer.get_optimizer_cls_and_kwargs(args)
        groups = parameter_groups(model, config.optim)
        if config.optim.name == "muon":
            kind = Muon
        trainer.optimizer_cls_and_kwargs = (kind, {**options, "params": groups})
