"""The shapes of the published SmolVLM2 checkpoints, so that a plan needs no download.

They are copied from the `config.json` on each model's Hub page. The parameter counts that follow from
them are those published (256,484,928, 507,482,304 and 2,246,272,880 with an untied head).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers import SmolVLMConfig

from train.early_checks import check_reachable, fetch_config
from train.memory.config import MODELS
from train.sections import ModelKeys

_SMALL_VISION = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "image_size": 512,
    "patch_size": 16,
}
_LARGE_VISION = {
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "image_size": 384,
    "patch_size": 14,
}


def _text(
    hidden: int, intermediate: int, layers: int, heads: int, kv_heads: int, vocab: int
) -> dict[str, Any]:
    return {
        "model_type": "llama",
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": 64,
        "rms_norm_eps": 1e-5,
        "vocab_size": vocab,
        "max_position_embeddings": 8192,
        "rope_theta": 100_000,
        "pad_token_id": 2,
        "bos_token_id": 1,
        "tie_word_embeddings": False,
    }


SHAPES: dict[str, dict[str, Any]] = {
    MODELS["256M"]: {
        "text_config": {**_text(576, 1536, 30, 9, 3, 49280), "eos_token_id": 49279},
        "vision_config": _SMALL_VISION,
        "scale_factor": 4,
        "image_token_id": 49190,
    },
    MODELS["500M"]: {
        "text_config": {**_text(960, 2560, 32, 15, 5, 49280), "eos_token_id": 49279},
        "vision_config": _SMALL_VISION,
        "scale_factor": 4,
        "image_token_id": 49190,
    },
    MODELS["2.2B"]: {
        "text_config": {**_text(2048, 8192, 24, 32, 32, 49155), "eos_token_id": 49154},
        "vision_config": _LARGE_VISION,
        "scale_factor": 3,
        "image_token_id": 49153,
    },
}


def shape_of(model: ModelKeys) -> SmolVLMConfig:
    """The configuration of a published checkpoint, of a folder, of the tiny model, or from the Hub.

    Raises:
        UserError: there is no such checkpoint.
    """
    if model.name in SHAPES:
        return SmolVLMConfig(**SHAPES[model.name], tie_word_embeddings=False)
    if model.name == "tiny":
        from train.model import tiny

        return tiny.tiny_config(tiny.tiny_tokenizer())
    check_reachable(model, force=True)
    folder = Path(model.name)
    file = folder / "config.json" if folder.is_dir() else Path(fetch_config(model))
    return SmolVLMConfig(**json.loads(file.read_text(encoding="utf-8")))
