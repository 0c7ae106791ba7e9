"""The shapes of the published SmolVLM2 checkpoints, so that a plan needs no download.

They are copied from the `config.json` on each model's Hub page. The parameter counts that follow from
them are those published (256,484,928, 507,482,304 and 2,246,272,880 with an untied head).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers import SmolVLMConfig

from data.errors import UserError
from train.config import TrainConfig
from train.early_checks import check_reachable, fetch_config
from train.memory.config import MODELS
from train.model.connector import tokens_of, with_tokens
from train.model.sharding import sharding
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
    """The configuration of a published checkpoint, of a folder, of the tiny model, or from the Hub, with
    `model.tokens_a_frame`.

    Raises:
        UserError: there is no such checkpoint, or it cannot have so many tokens a frame.
    """
    return with_tokens(_own_shape(model), model.tokens_a_frame)


def _own_shape(model: ModelKeys) -> SmolVLMConfig:
    if model.name in SHAPES:
        return SmolVLMConfig(**SHAPES[model.name], tie_word_embeddings=False)
    if model.name == "tiny":
        from train.model import tiny

        return tiny.tiny_config(tiny.tiny_tokenizer())
    check_reachable(model, force=True)
    folder = Path(model.name)
    file = folder / "config.json" if folder.is_dir() else Path(fetch_config(model))
    return SmolVLMConfig(**json.loads(file.read_text(encoding="utf-8")))


def check_tokens(config: TrainConfig, model: ModelKeys) -> None:
    """Check that the model can have `model.tokens_a_frame`, and that a connector with fewer trains: the mean of the
    tokens that it replaces ruins a model that has not learned to read it.

    Raises:
        UserError: it cannot, or does not train.
    """
    if model.tokens_a_frame is None:
        return
    own = _own_shape(model)
    if with_tokens(own, model.tokens_a_frame).scale_factor == own.scale_factor:
        return
    if sharding() == "ZeRO-3":
        raise UserError(
            f"model.tokens_a_frame={model.tokens_a_frame}: DeepSpeed's ZeRO-3 shares the connector out before it can "
            "be widened; use recipes/accelerate/ddp.yaml or fsdp2.yaml"
        )
    if config.train.method == "full":
        trains = config.optim.rates()["connector"] > 0
    else:
        trains = config.lora.connector or config.lora.targets != "llm"
    if trains:
        return
    remedy = "give optim.lr_connector" if config.train.method == "full" else "lora.connector=true"
    raise UserError(
        f"model.tokens_a_frame={model.tokens_a_frame}: of {tokens_of(own)} tokens each is now the mean of some, which the model "
        f"must learn to read: train the connector too ({remedy})"
    )
