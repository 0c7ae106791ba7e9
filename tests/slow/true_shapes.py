"""A checkpoint folder with SmolVLM2-256M's shapes, ids and processor values, but random weights.

Its learned merges cannot be had offline, so a byte-level tokenizer of the same size and the same
special ids stands in: text becomes bytes, everything else is as published.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    PreTrainedTokenizerFast,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
    SmolVLMImageProcessor,
    SmolVLMProcessor,
    SmolVLMVideoProcessor,
)

BASE_TOKENS = 49152
TEXT = {
    "model_type": "llama", "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
    "num_key_value_heads": 3, "head_dim": 64, "rms_norm_eps": 1e-5, "vocab_size": 49280, "max_position_embeddings": 8192,
    "rope_theta": 100_000, "pad_token_id": 2, "bos_token_id": 1, "eos_token_id": 49279, "tie_word_embeddings": False,
}  # fmt: skip
VISION = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "image_size": 512,
    "patch_size": 16,
}


def tokenizer() -> PreTrainedTokenizerFast:
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = (
        specials
        + alphabet
        + [f"unused{i}" for i in range(BASE_TOKENS - len(specials) - len(alphabet))]
    )
    core = Tokenizer(models.BPE(vocab={word: i for i, word in enumerate(words)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    added = ["<global-img>", *(f"<row_{r}_col_{c}>" for r in range(1, 7) for c in range(1, 7)),
             "<fake_token_around_image>", "<image>", *(f"<|reserved_{i}|>" for i in range(88)), "<end_of_utterance>"]  # fmt: skip
    core.add_special_tokens(
        [AddedToken(t, special=True, normalized=False) for t in specials + added]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<|im_start|>", eos_token="<end_of_utterance>", pad_token="<|im_end|>",
        unk_token="<|endoftext|>", model_max_length=8192, truncation_side="left",
        extra_special_tokens={
            "fake_image_token": "<fake_token_around_image>", "image_token": "<image>",
            "end_of_utterance_token": "<end_of_utterance>", "global_image_token": "<global-img>",
        },
    )  # fmt: skip


def processor() -> SmolVLMProcessor:
    square = {"longest_edge": 512}
    half = [0.5, 0.5, 0.5]
    values = {
        "size": {"longest_edge": 2048},
        "max_image_size": square,
        "image_mean": half,
        "image_std": half,
        "resample": 1,
    }
    sampling = {"fps": 1, "max_frames": 64, "video_size": dict(square)}
    return SmolVLMProcessor(
        image_processor=SmolVLMImageProcessor(do_image_splitting=True, **values),
        tokenizer=tokenizer(),
        video_processor=SmolVLMVideoProcessor(video_sampling=sampling, **values),
        image_seq_len=64,
    )


def build(folder: Path) -> Path:
    config = SmolVLMConfig(
        text_config=TEXT,
        vision_config=VISION,
        scale_factor=4,
        image_token_id=49190,
        tie_word_embeddings=False,
    )
    torch.manual_seed(0)
    model = SmolVLMForConditionalGeneration(config)
    model.save_pretrained(folder)
    processor().save_pretrained(folder)
    return folder


def published(folder: Path) -> dict:
    return json.loads((folder / "config.json").read_text())
