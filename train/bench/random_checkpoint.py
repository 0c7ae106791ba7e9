"""A checkpoint folder with a published model's shapes, ids and processor values, but random weights.

The learned merges of its tokenizer are not available offline. A byte-level tokenizer of the same size and with the same
special ids stands in: the words of the stock prompt are tokens, so that a frame costs what it costs, other text becomes
bytes, and everything else is as published.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

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
from transformers.models.smolvlm.processing_smolvlm import (
    DEFAULT_VIDEO_INTRO,
    FRAME_TIMESTAMP_MESSAGE,
)

from train.memory.shapes import shape_of
from train.model.connector import tokens_of
from train.sections import ModelKeys

BASE_TOKENS = 49152


def build(name: str, folder: Path, seed: int = 0, tokens: int | None = None) -> Path:
    """Write a stand-in for the published checkpoint `name`, unless `folder` has one; return `folder`.

    Args:
        tokens: of a frame (None: as published).
    """
    if (folder / "tokenizer.json").is_file():
        return folder
    shape = shape_of(ModelKeys(name=name, tokens_a_frame=tokens))
    torch.manual_seed(seed)
    model = SmolVLMForConditionalGeneration(shape)
    model.save_pretrained(folder, max_shard_size="100GB")
    processor(shape).save_pretrained(folder)
    return folder


def tokenizer(shape: SmolVLMConfig) -> PreTrainedTokenizerFast:
    """Bytes, the words of the stock prompt, words that are never used, and the special tokens at the published ids."""
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = _merges(DEFAULT_VIDEO_INTRO + FRAME_TIMESTAMP_MESSAGE + "User Assistant")
    made = [*specials, *alphabet, *("".join(pair) for pair in merges)]
    words = [*made, *(f"unused{i}" for i in range(BASE_TOKENS - len(made)))]
    core = Tokenizer(models.BPE(vocab={word: i for i, word in enumerate(words)}, merges=merges))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    if shape.image_token_id == 49190:
        added = [
            "<global-img>",
            *(f"<row_{r}_col_{c}>" for r in range(1, 7) for c in range(1, 7)),
            "<fake_token_around_image>",
            "<image>",
            *(f"<|reserved_{i}|>" for i in range(88)),
            "<end_of_utterance>",
        ]
    else:  # the 2.2B adds only three to its base model's
        added = ["<fake_token_around_image>", "<image>", "<end_of_utterance>"]
    core.add_special_tokens(
        [AddedToken(t, special=True, normalized=False) for t in [*specials, *added]]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<|im_start|>",
        eos_token="<end_of_utterance>",
        pad_token="<|im_end|>",
        unk_token="<|endoftext|>",
        model_max_length=8192,
        truncation_side="left",
        extra_special_tokens={
            "fake_image_token": "<fake_token_around_image>",
            "image_token": "<image>",
            "end_of_utterance_token": "<end_of_utterance>",
            "global_image_token": "<global-img>",
        },
    )


def _merges(text: str) -> list[tuple[str, str]]:
    """Merges that make a token of each word, with the space before it: of its first two bytes, of these and the third, …"""
    pairs: dict[tuple[str, str], None] = {}
    for word in re.findall(" ?[A-Za-z]+", text):
        bytes_ = word.replace(" ", "Ġ")
        pairs |= {(bytes_[:i], bytes_[i]): None for i in range(1, len(bytes_))}
    return list(pairs)


def processor(shape: SmolVLMConfig) -> SmolVLMProcessor:
    """The processor as published: frames are resized to the model's square, images are split into tiles."""
    vision: Any = shape.vision_config
    side = vision.image_size
    square, half = {"longest_edge": side}, [0.5, 0.5, 0.5]
    values: dict[str, Any] = {
        "size": {"longest_edge": 4 * side},
        "max_image_size": square,
        "image_mean": half,
        "image_std": half,
        "resample": 1,
    }
    sampling = {"fps": 1, "max_frames": 64, "video_size": dict(square)}
    return SmolVLMProcessor(
        image_processor=SmolVLMImageProcessor(do_image_splitting=True, **values),
        tokenizer=tokenizer(shape),
        video_processor=SmolVLMVideoProcessor(video_sampling=sampling, **values),  # type: ignore[call-arg]
        image_seq_len=tokens_of(shape),
    )
