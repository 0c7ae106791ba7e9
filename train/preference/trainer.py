"""TRL's DPOTrainer with our frames: a video is seen once a pair, and its prompt computed once for both answers."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, set_peft_model_state_dict
from safetensors.torch import load_file
from transformers import PreTrainedModel, SmolVLMForConditionalGeneration
from trl import DPOConfig, DPOTrainer

from train.batches.frames import normalise
from train.batches.trees import collate_trees
from train.loop.arguments import arguments
from train.loop.guards import Guarded
from train.loop.loading import Loaded
from train.loop.trainer import made_ready
from train.model import forward
from train.model.adapter import base_of
from train.model.library_checks import TRAINER, check_overrides
from train.model.load import Precision, load_model
from train.model.sharding import weights_are_sharded
from train.preference.config import PreferConfig
from train.run.files import REFERENCE
from train.run.saving import saving
from train.sections import ModelKeys

REF = "ref"
"""TRL's name of the adapter's frozen copy."""


class PairTrainer(Guarded, DPOTrainer):
    """DPOTrainer with our batches of trees."""

    loss_name = "loss of pairs"
    scale: forward.Scale
    """Prepares frames for the tower."""
    frames_at_once: int
    """Frames that go through the tower at a time."""

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """TRL's loss. The reference sees what the model sees: a tower that does not train runs once for both."""
        given = {key: value for key, value in inputs.items() if key != "sample_ids"}
        base = self._tower_of(model)
        if base is not None:
            with torch.no_grad():
                frames = given.pop("frames")
                given["features"] = forward.encode_frames(
                    base, self.scale, frames, self.frames_at_once
                )
        result = super().compute_loss(model, given, return_outputs, num_items_in_batch)
        loss = result[0] if return_outputs else result
        if model.training:
            self.count(inputs["sample_ids"], inputs["tokens"].numel(), loss)
        return result

    def _tower_of(self, model: torch.nn.Module) -> SmolVLMForConditionalGeneration | None:
        """The model, if its tower is the reference's too; None: each sees by itself."""
        if weights_are_sharded():
            return None
        whole: Any = self.accelerator.unwrap_model(model)
        base: Any = base_of(whole)
        trains = any(p.requires_grad for p in base.model.vision_model.parameters())
        return None if trains else base

    def _save(
        self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None
    ) -> None:
        super()._save(output_dir, state_dict)
        if output_dir is not None and self.args.should_save:
            shutil.rmtree(Path(output_dir) / REF, ignore_errors=True)  # the reference is no result


check_overrides(DPOTrainer, TRAINER, "trl")


def make_pair_trainer(
    config: PreferConfig,
    model: SmolVLMForConditionalGeneration | PeftModel,
    loaded: Loaded,
    precision: Precision,
    output: Path,
    from_step: int,
) -> PairTrainer:
    """The trainer of a run on pairs, for a model with our forward pass.

    The reference is the model as the run began with it. It stays in the run's folder until the run has ended, so that
    a resumed run has the same one.

    Args:
        from_step: step of the checkpoint that is resumed; 0 for a new run.

    Raises:
        UserError: the reference cannot be written.
    """
    common = arguments(config, loaded, precision, output, from_step)
    both = config.prefer.method == "dpo+sft"
    args = DPOConfig(
        **common,
        activation_offloading=config.train.offload,
        max_length=None,
        beta=config.prefer.beta,
        loss_type=["sigmoid", "sft"] if both else ["sigmoid"],
        loss_weights=[1.0, config.prefer.sft_weight] if both else None,
    )
    reference = _kept(model, output / REFERENCE, from_step, args.distributed_state)
    adapter = {n: p.data.clone() for n, p in model.named_parameters() if p.requires_grad}
    trainer = PairTrainer(
        model=model,
        ref_model=None
        if isinstance(model, PeftModel)
        else _whole(reference, config, loaded, precision),
        args=args,
        data_collator=partial(collate_trees, pad_id=loaded.processor.tokenizer.pad_token_id),
        train_dataset=loaded.sets.train,
        eval_dataset=loaded.sets.evaluation,
        processing_class=loaded.processor,
        callbacks=[],
    )
    trainer.scale = partial(normalise, processor=loaded.processor)
    trainer.frames_at_once = config.train.vision_batch
    if isinstance(model, PeftModel):  # TRL's copy of a connector has the precision of the base
        for name, weights in adapter.items():
            copy = model.get_parameter(name.replace(".default.", f".{REF}."))
            copy.data = weights.to(copy.device)
    made_ready(trainer, config, model, loaded, precision, output, from_step, adapter)
    return trainer


def _kept(
    model: SmolVLMForConditionalGeneration | PeftModel, folder: Path, from_step: int, processes: Any
) -> Path:
    """Write the reference's weights, or put them into the adapter of a run that is resumed (its checkpoint is loaded
    later)."""
    if from_step == 0:
        if processes.is_main_process:
            with saving(folder.parent, "the reference"):
                model.save_pretrained(str(folder))
        processes.wait_for_everyone()
    elif isinstance(model, PeftModel):
        set_peft_model_state_dict(model, load_file(folder / "adapter_model.safetensors"))
    return folder


def _whole(
    folder: Path, config: PreferConfig, loaded: Loaded, precision: Precision
) -> PreTrainedModel:
    """The reference of full fine-tuning, a second model."""
    keys = ModelKeys(name=str(folder), dtype=config.model.dtype, attention=config.model.attention)
    model = load_model(keys, "full", precision)
    model.requires_grad_(False)
    scale = partial(normalise, processor=loaded.processor)
    forward.install(model, scale, frames_at_once=config.train.vision_batch)
    return model.eval()
