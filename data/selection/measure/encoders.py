"""Image encoders for the policies `embedding` and `query`: the only module under `data/` that uses torch.

Supported: CLIP- and SigLIP-like models (pictures and text), self-supervised vision towers of transformers
with a class token (DINOv2), and SmolVLM's own vision tower (mean of its patches).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoTokenizer

from data.errors import UserError, first_line

CONTRASTIVE = ("clip", "siglip", "siglip2", "metaclip_2")
CLASS_TOKEN = ("dinov2", "dinov2_with_registers", "dinov3_vit", "vit")
OWN = ("smolvlm", "idefics3")


class Encoder:
    """A loaded model: pictures or a text → unit vectors."""

    def __init__(self, name: str, kind: str, model: Any, prepare: Any, side_px: int):
        self._name, self._kind, self._model, self._prepare = name, kind, model, prepare
        self._device = next(model.parameters()).device
        self.short_px = side_px

    @torch.inference_mode()
    def images(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        """n pictures, (H, W, 3) uint8 → (n, D) unit vectors, float32."""
        if self._kind in OWN:
            side = self.short_px
            square = [cv2.resize(p, (side, side), interpolation=cv2.INTER_AREA) for p in pictures]
            pixels = torch.from_numpy(np.stack(square)).to(self._device)  # (n, S, S, 3)
            pixels = pixels.permute(0, 3, 1, 2).float() / 127.5 - 1
        else:
            pixels = self._prepare(images=list(pictures), return_tensors="pt")["pixel_values"]
        pixels = pixels.to(self._device)
        if self._kind in CONTRASTIVE:
            vectors = self._model.get_image_features(pixel_values=pixels).pooler_output
        elif self._kind in OWN:
            vectors = self._model.vision_model(pixel_values=pixels).last_hidden_state.mean(dim=1)
        else:
            vectors = self._model(pixel_values=pixels).last_hidden_state[:, 0]
        return _unit(vectors)

    @torch.inference_mode()
    def text(self, query: str) -> np.ndarray:
        """A text → (D,) unit vector.

        Raises:
            UserError: this encoder has no text model.
        """
        if self._kind not in CONTRASTIVE:
            raise UserError(
                f"frames.encoder={self._name}: a {self._kind} model compares pictures only; "
                "policy=query needs a CLIP or SigLIP model"
            )
        tokenizer = AutoTokenizer.from_pretrained(self._name)
        longest = int(self._model.config.text_config.max_position_embeddings)
        tokens = tokenizer(
            [query],
            return_tensors="pt",
            padding="max_length",  # as SigLIP was trained
            truncation=True,
            max_length=longest,
        )
        inputs = {k: v.to(self._device) for k, v in tokens.items() if k != "token_type_ids"}
        return np.asarray(_unit(self._model.get_text_features(**inputs).pooler_output)[0])


@lru_cache(maxsize=1)
def load(name: str) -> Encoder:
    """The model of a Hub id or folder, on the GPU if there is one.

    Raises:
        UserError: there is no such model, or its kind is not supported.
    """
    try:
        config = AutoConfig.from_pretrained(name)
        kind = str(config.model_type)
        if kind not in (*CONTRASTIVE, *CLASS_TOKEN, *OWN):
            raise UserError(
                f"frames.encoder={name}: {kind} models are not supported; supported are "
                f"{', '.join((*CONTRASTIVE, *CLASS_TOKEN, *OWN))}"
            )
        model = AutoModel.from_pretrained(name, dtype=torch.float32)
        prepare = None if kind in OWN else AutoImageProcessor.from_pretrained(name)
    except (OSError, ValueError) as error:
        where = "folder" if Path(name).is_dir() else "Hub id or folder"
        raise UserError(
            f"frames.encoder={name}: no image encoder in this {where} ({first_line(error)})"
        ) from None
    device = "cuda" if torch.cuda.is_available() else "cpu"
    vision = config if kind in CLASS_TOKEN else config.vision_config
    return Encoder(name, kind, model.eval().to(device), prepare, int(vision.image_size))


@lru_cache(maxsize=1)
def query_vector(name: str, query: str) -> np.ndarray:
    """(D,) `load(name).text(query)`, cached: computed once per process, not once per video."""
    return load(name).text(query)


def _unit(vectors: torch.Tensor) -> np.ndarray:
    return np.asarray(torch.nn.functional.normalize(vectors.float(), dim=-1).cpu().numpy())
