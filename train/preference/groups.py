"""TRL's GRPOTrainer with our frames, prompts and rewards: a group of answers shares a row with its prompt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object
from datasets import Dataset
from peft import PeftModel
from torch.utils.data import DataLoader
from transformers import SmolVLMForConditionalGeneration, SmolVLMProcessor, Trainer
from trl import GRPOConfig, GRPOTrainer

from data.target import Style
from train.batches.frames import normalise
from train.batches.trees import collate_trees
from train.evaluation.records import Reference, parse_prediction
from train.inference.generate import Generation, generate_from, several
from train.loop.arguments import arguments
from train.loop.guards import Guarded
from train.loop.loading import Loaded
from train.loop.trainer import made_ready
from train.metrics.text import PairScore, meteor_lite_pairs, rouge_l_pairs
from train.model import forward
from train.model.adapter import base_of
from train.model.library_checks import TRAINER, check_overrides
from train.model.load import Precision
from train.preference.config import PreferConfig, RewardKeys
from train.preference.rewards import Reward, reward

EPSILON = 1e-4
"""Added to the deviation of a group's rewards, as in TRL."""
TEXT_SCORES: dict[str, PairScore] = {"meteor_lite": meteor_lite_pairs, "rouge_l": rouge_l_pairs}
RewardOf = Callable[[Generation, Reference], Reward]
TREE = ("tokens", "branch", "position_ids", "places")
GRPO = {
    "_get_train_sampler": ("dataset",),
    "_get_per_token_logps_and_entropies": (
        "model",
        "input_ids",
        "attention_mask",
        "logits_to_keep",
    ),
    "_prepare_inputs": ("generation_batch",),
    "get_train_dataloader": (),
    "get_eval_dataloader": ("eval_dataset",),
}


class GroupTrainer(Guarded, GRPOTrainer):
    """GRPOTrainer whose answers are sampled for each batch from the model as it is, by our generation, and compared
    with each other by our reward."""

    loss_name = "1 − reward"
    videos: int
    """Prompts of a batch."""
    each: int
    """Answers to a prompt."""
    longest: int
    """Maximum tokens of an answer."""
    reward_of: RewardOf
    scale: forward.Scale
    """Prepares frames for the tower."""
    frames_at_once: int
    """Frames that go through the tower at a time."""

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        """Sample, score, compare: prompts (as `PromptEncoder` makes them) → what TRL's loss takes."""
        samples: Sequence[dict[str, Any]] = generation_batch
        features, said = self._answers(samples, self.each, self.temperature)
        groups = [said[n : n + self.each] for n in range(0, len(said), self.each)]
        rewards = [
            self.reward_of(one, sample["true"])
            for sample, group in zip(samples, groups, strict=True)
            for one in group
        ]
        values = np.array([one.value for one in rewards]).reshape(len(samples), -1)  # (B, N)
        spread = values.std(axis=1, ddof=1, keepdims=True)
        advantages = (values - values.mean(axis=1, keepdims=True)) / (spread + EPSILON)
        self._note("train", rewards, said)
        self._metrics["train"]["groups_alike"].append(float((spread < EPSILON).mean()))
        trees = [
            {
                "id": sample["id"],
                "prompt_ids": sample["input_ids"],
                "answer_ids": [list(one.ids) for one in group],
                "features": seen,
            }
            for sample, group, seen in zip(samples, groups, features, strict=True)
        ]
        batch = collate_trees(trees, self._tokenizer.pad_token_id)
        device = self.accelerator.device
        batch = {k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in batch.items()}
        own = batch["completion_mask"].sum()
        return {
            "prompt_ids": batch["input_ids"][:, :1],
            "prompt_mask": batch["attention_mask"][:, :1],
            "completion_ids": batch["input_ids"][:, 1:],
            "completion_mask": batch["completion_mask"][:, 1:],
            # first the first answers to all prompts, then the second ones, …
            "advantages": torch.tensor(advantages.T.flatten(), dtype=torch.float32, device=device),
            "num_items_in_batch": self.accelerator.gather(own).sum(),
            "tree": {name: batch[name] for name in (*TREE, "features")},
            "sample_ids": batch["sample_ids"],
        }

    def _answers(
        self, samples: Sequence[dict[str, Any]], draws: int, temperature: float
    ) -> tuple[Sequence[torch.Tensor], list[Generation]]:
        """The tower's features of each sample's frames, and `draws` answers to each prompt, one after the other."""
        model: Any = self.accelerator.unwrap_model(self.model)
        base: Any = base_of(model)
        processor: Any = self.processing_class
        training = model.training
        model.eval()
        try:
            with torch.no_grad(), self.accelerator.autocast():
                frames = torch.cat([sample["frames"] for sample in samples]).to(base.device)
                seen = forward.encode_frames(base, self.scale, frames, self.frames_at_once)
                counts = [len(sample["frames"]) for sample in samples]
                each = forward.connect(base, seen).split(counts)
                said = generate_from(
                    model,
                    processor,
                    several(samples, draws),
                    torch.cat(several(each, draws)),
                    max_new_tokens=self.longest,
                    temperature=temperature,
                )
        finally:
            model.train(training)
        return seen.split(counts), said

    def _note(self, mode: str, rewards: Sequence[Reward], said: Sequence[Generation]) -> None:
        """Log the rewards of a batch and their parts, and how long the answers are."""
        parts: dict[str, list[float]] = {"reward": [one.value for one in rewards]}
        for one in rewards:
            for name, value in one.parts.items():
                parts.setdefault(f"reward_{name}", []).append(value)
        parts["answer_tokens"] = [float(len(one.ids)) for one in said]
        parts["answers_cut"] = [float(one.cut) for one in said]
        for name, values in parts.items():
            self._metrics[mode][name] += gather_object(values)

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: Any, attention_mask: Any, logits_to_keep: int, **named: Any
    ) -> Any:
        """Log-probabilities of the answers' tokens (N·B, L), and entropies there, from trees."""
        labels = input_ids.masked_fill(attention_mask == 0, -100)
        labels[:, :-logits_to_keep] = -100
        with self.accelerator.autocast():
            out = model(input_ids=input_ids, **self._tree, labels=labels, fused_lm_head=True)
        return out.log_probs[:, -logits_to_keep:], out.entropy[:, -logits_to_keep:], None

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """TRL's loss."""
        self._tree = inputs.pop("tree")
        sample_ids = inputs.pop("sample_ids")
        loss = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        self.count(sample_ids, self._tree["tokens"].numel(), loss)
        return loss

    def prediction_step(
        self,
        model: torch.nn.Module,
        inputs: Any,
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> Any:
        """Of held-out videos: 1 − the reward of the likeliest answer."""
        _, said = self._answers(inputs, 1, 0.0)
        rewards = [self.reward_of(one, s["true"]) for one, s in zip(said, inputs, strict=True)]
        self._note("eval", rewards, said)
        loss = 1 - float(np.mean([one.value for one in rewards]))
        return torch.tensor(loss, device=self.accelerator.device), None, None

    def get_train_dataloader(self) -> DataLoader:
        return self._get_dataloader(
            dataset=self.train_dataset,
            description="Training",
            batch_size=self.videos,
            sampler_fn=self._get_train_sampler,
            is_training=True,
        )

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        return Trainer.get_eval_dataloader(self, eval_dataset)

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Any:
        return self.order or Trainer._get_train_sampler(self, train_dataset)

    def _get_eval_sampler(self, eval_dataset: Dataset) -> Any:
        return Trainer._get_eval_sampler(self, eval_dataset)


check_overrides(GRPOTrainer, {**TRAINER, **GRPO}, "trl")


def rewarding(keys: RewardKeys, score: PairScore, style: Style) -> RewardOf:
    """The reward as a function of an answer and what is true."""

    def reward_of(said: Generation, true: Reference) -> Reward:
        answer = parse_prediction(said.text, cut=said.cut)
        return reward(answer, true, keys, score, style)

    return reward_of


def make_group_trainer(
    config: PreferConfig,
    model: SmolVLMForConditionalGeneration | PeftModel,
    loaded: Loaded,
    precision: Precision,
    output: Path,
    from_step: int,
) -> GroupTrainer:
    """The trainer of a run on sampled answers, for a model with our forward pass.

    Args:
        from_step: step of the checkpoint that is resumed; 0 for a new run.
    """
    keys = config.prefer
    common = arguments(config, loaded, precision, output, from_step)
    args = GRPOConfig(
        **common | {"per_device_train_batch_size": config.train.batch * keys.answers},
        num_generations=keys.answers,
        num_generations_eval=1,
        steps_per_generation=1,
        max_completion_length=keys.max_new_tokens,
        temperature=keys.temperature,
        beta=0.0,
        disable_dropout=True,  # answers are sampled without it
    )
    processor: SmolVLMProcessor = loaded.processor
    adapter = {n: p.data for n, p in model.named_parameters() if p.requires_grad}
    reward_of = rewarding(config.reward, TEXT_SCORES[config.soda_text], config.data.target)
    trainer = GroupTrainer(
        model=model,
        reward_funcs=reward_of,
        args=args,
        train_dataset=loaded.sets.train,
        eval_dataset=loaded.sets.evaluation,
        processing_class=processor,
        callbacks=[],
    )
    trainer.reward_of = reward_of
    trainer.scale = partial(normalise, processor=processor)
    trainer.videos, trainer.each, trainer.longest = (
        config.train.batch,
        keys.answers,
        keys.max_new_tokens,
    )
    trainer.frames_at_once = config.train.vision_batch
    made_ready(trainer, config, model, loaded, precision, output, from_step, adapter)
    return trainer
