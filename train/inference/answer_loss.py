"""How well a describer tells a video from some of its frames: the loss of its answer, with features cached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from peft import PeftModel
from torch.nn import functional
from transformers import PreTrainedModel, SmolVLMProcessor

from data.errors import UserError
from train.batches.collate import collate
from train.batches.encode import encode
from train.batches.frames import decode_frames, frame_size_px, normalise
from train.inference.generate import FRAMES_AT_ONCE, load_run
from train.model import forward
from train.model.adapter import base_of
from train.run.saved import SavedRun
from train.sections import DataKeys

Subset = tuple[int, ...]
"""Numbers of a row's frames, increasing."""


@dataclass(frozen=True)
class Case:
    """A row to be told from some frames."""

    row: Mapping[str, Any]
    """As in a prepared dataset, with a time in `times_s` for each frame."""
    features: torch.Tensor
    """(M, N, H) of the frames."""
    subset: Subset
    """Which of them are shown."""


@dataclass(frozen=True)
class TokenLosses:
    """Of one answer, its end among them."""

    ids: torch.Tensor
    """(A,) of the tokens."""
    losses: torch.Tensor
    """(A,) in nats."""

    @property
    def mean(self) -> torch.Tensor:
        """() of the whole answer."""
        return self.losses.mean()


@dataclass(frozen=True)
class Describer:
    """A run's model."""

    model: PreTrainedModel | PeftModel
    processor: SmolVLMProcessor
    keys: DataKeys

    @classmethod
    def load(cls, run: SavedRun, dtype: str = "auto") -> Describer:
        """
        Raises:
            UserError: the model cannot be loaded.
        """
        model, processor = load_run(run, dtype)
        return cls(model, processor, run.data)

    @property
    def _base(self) -> Any:
        return base_of(self.model)

    @torch.inference_mode()
    def features(self, jpegs: Sequence[bytes]) -> torch.Tensor:
        """(M, N, H) features of frames, after the connector, on the CPU."""
        return self.features_of(decode_frames(jpegs, frame_size_px(self.processor)))

    @torch.inference_mode()
    def features_of(self, frames: torch.Tensor) -> torch.Tensor:
        """The same of (M, 3, S, S) uint8 pictures, as large as the model takes them."""
        frames = frames.to(self.model.device)
        scale = partial(normalise, processor=self.processor)
        seen = forward.encode_frames(self._base, scale, frames, FRAMES_AT_ONCE)  # (M, P, D)
        return forward.connect(self._base, seen).cpu()

    def losses(self, cases: Sequence[Case], batch: int | None = None) -> torch.Tensor:
        """(C,) mean loss of each answer's tokens, in nats; `batch` prompts at a time (None: all at once).

        Raises:
            UserError: a loss is not finite.
        """
        return torch.stack([one.mean for one in self.token_losses(cases, batch)])

    def token_losses(self, cases: Sequence[Case], batch: int | None = None) -> list[TokenLosses]:
        """Of each answer, as `losses`."""
        size = batch or len(cases)
        parts = [cases[i : i + size] for i in range(0, len(cases), size)]
        return [one for part in parts for one in self._token_losses(part)]

    @torch.inference_mode()
    def _token_losses(self, cases: Sequence[Case]) -> list[TokenLosses]:
        samples = [self._sample(case) for case in cases]
        batch = collate(samples, self.processor.tokenizer.pad_token_id)
        device, body = self.model.device, self._base.model
        hidden = body(
            input_ids=batch["input_ids"].to(device),
            attention_mask=batch["attention_mask"].to(device),
            **{forward.FEATURES: forward.as_mm_outputs(batch["features"].to(device))},
        ).last_hidden_state  # (C, T, H)
        places, ids = batch["answers"], batch["shift_labels"][0]  # (A,) in the flattened batch
        logits = self._base.lm_head(hidden.flatten(0, 1)[places.to(device)]).float()  # (A, V)
        each = functional.cross_entropy(logits, ids.to(device), reduction="none").cpu()  # (A,)
        counts = (places // hidden.shape[1]).bincount(minlength=len(cases)).tolist()
        found = list(map(TokenLosses, ids.split(counts), each.split(counts)))
        for case, one in zip(cases, found, strict=True):
            if not torch.isfinite(one.mean):
                raise UserError(
                    f"{case.row['id']}: the loss of its answer is not finite; try model.dtype=fp32"
                )
        return found

    def _sample(self, case: Case) -> dict[str, object]:
        """In the form that `collate` takes; if not all of its frames fit, the last ones are left out."""
        row = case.row
        times_s = [row["times_s"][i] for i in case.subset]
        told = {**row, "times_s": times_s, "ranks": list(range(len(times_s)))}
        text = encode(told, self.processor, self.keys)
        kept = [case.subset[i] for i in text.kept]
        return {
            "id": text.id,
            "input_ids": text.input_ids,
            "labels": text.labels,
            "features": case.features[kept],
        }
