"""A tiny SmolVLM with its tokenizer and processor, built offline.

The same classes as a SmolVLM2 checkpoint at 0.8 M parameters, so that every method runs on a CPU
in seconds. It knows the micro-world's words as whole tokens and any other text as bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoConfig,
    PreTrainedTokenizerFast,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
    SmolVLMImageProcessor,
    SmolVLMProcessor,
    SmolVLMVideoProcessor,
)

from data.sources import microworld
from data.target import clock, timeline

FRAME_PX = 64
PATCH_PX = 16
SCALE = 2
TOKENS_A_FRAME = (FRAME_PX // PATCH_PX) ** 2 // SCALE**2
SPECIAL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<global-img>",
    "<fake_token_around_image>",
    "<image>",
    "<end_of_utterance>",
]


def build(folder: Path, seed: int = 0) -> Path:
    """Write a checkpoint folder with random weights; `from_pretrained` reads it like any other."""
    tokenizer = tiny_tokenizer()
    processor = tiny_processor(tokenizer)
    torch.manual_seed(seed)
    model = SmolVLMForConditionalGeneration(tiny_config(tokenizer))
    initialise(model)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def tiny_config(tokenizer: PreTrainedTokenizerFast) -> SmolVLMConfig:
    """A model of 0.8 M parameters, which learns colour and shape from scratch in minutes on a CPU."""
    text = AutoConfig.for_model(
        "llama",
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=4,
        vocab_size=len(tokenizer),
        max_position_embeddings=8192,
        rms_norm_eps=1e-5,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return SmolVLMConfig(
        text_config=text.to_dict(),
        vision_config={
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": FRAME_PX,
            "patch_size": PATCH_PX,
        },
        scale_factor=SCALE,
        image_token_id=tokenizer.get_vocab()["<image>"],
        tie_word_embeddings=False,
    )


def tiny_processor(tokenizer: PreTrainedTokenizerFast) -> SmolVLMProcessor:
    """The processor classes of SmolVLM2, set to the tiny model's frame size."""
    edge, whole = {"longest_edge": FRAME_PX}, {"longest_edge": 4 * FRAME_PX}  # SmolVLM2: 512, 2048
    half = [0.5, 0.5, 0.5]
    sampling = {"fps": 1, "max_frames": 64, "video_size": edge}
    return SmolVLMProcessor(
        image_processor=SmolVLMImageProcessor(
            size=whole, max_image_size=edge, image_mean=half, image_std=half
        ),
        tokenizer=tokenizer,
        video_processor=SmolVLMVideoProcessor(
            size=whole,
            max_image_size=edge,
            image_mean=half,
            image_std=half,
            video_sampling=sampling,  # type: ignore[call-arg]  # its __init__ reads it undeclared
        ),
        image_seq_len=TOKENS_A_FRAME,
    )


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE whose merges make the micro-world's words and `MM:SS` single tokens."""
    tokenizer = Tokenizer(models.BPE())
    pieces = Regex(r"\d\d:\d\d| ?[A-Za-z]+|\d|\s|[^\sA-Za-z\d]")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(pieces, behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1200,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in SPECIAL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|im_start|>",
        eos_token="<end_of_utterance>",
        pad_token="<|im_end|>",
        unk_token="<|endoftext|>",
        padding_side="right",
        model_max_length=8192,
        extra_special_tokens={
            "fake_image_token": "<fake_token_around_image>",
            "image_token": "<image>",
            "end_of_utterance_token": "<end_of_utterance>",
            "global_image_token": "<global-img>",
        },
        clean_up_tokenization_spaces=False,
    )


def _corpus() -> Iterator[str]:
    for index in range(400):
        events = microworld.events(microworld.story(12345, index))
        yield timeline(events)
        yield " ".join(e.text[:1].upper() + e.text[1:] for e in events)
    numbers = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
    for second in range(60):
        number = numbers.split()[second % 16]
        yield (
            f"User: Assistant: System: You are provided the following series of {number} frames from a "
            f"0:00:{second:02d} [H:MM:SS] video.\n\nFrame from {clock(second)}:\n\n"
            "Describe what happens in this video, scene by scene, with times. Describe this video in detail."
        )


def initialise(model: torch.nn.Module) -> None:
    """Initialise at scales from which so small a model learns; the library's suit large models."""
    for name, parameter in model.named_parameters():
        if parameter.ndim < 2:
            continue
        std = 0.5 if "position_embedding" in name else 0.1 if "vision_model" in name else 0.05
        torch.nn.init.normal_(parameter, std=std)
