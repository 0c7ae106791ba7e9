"""Rewrite a saved folder's settings so that other programs preprocess and tokenize as in training.

Other programs treat a frame as a single image and would cut it into 13 or 17 tiles and an overview.
They read older names of settings, and give no error if one is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import transformers
from transformers.models.smolvlm.processing_smolvlm import DEFAULT_CHAT_TEMPLATE

from train.run.files import json_text, read_json

TEMPLATE = "chat_template.jinja"


def make_portable(folder: Path) -> None:
    """Rewrite the settings beside weights that were just saved in `folder`; missing files are skipped.

    - An image is one square, resized once, in as many tokens as a frame in training.
    - transformers 4 finds the names that it reads: `rope_theta`, a tokenizer class, special tokens.
    - The chat template of training is added if the checkpoint has none.
    """
    for name, change in (
        ("config.json", _config),
        ("tokenizer_config.json", _tokenizer),
        ("processor_config.json", _processor),
    ):
        _rewrite(folder / name, change)
    processor = folder / "processor_config.json"
    if not processor.is_file():
        return
    # converters and transformers 4 read the image processor from a file of its own
    _write(folder / "preprocessor_config.json", read_json(processor)["image_processor"])
    if not (folder / TEMPLATE).is_file():
        (folder / TEMPLATE).write_text(DEFAULT_CHAT_TEMPLATE, encoding="utf-8")


def _rewrite(file: Path, change: Callable[[dict[str, Any]], None]) -> None:
    if file.is_file():
        settings = read_json(file)
        change(settings)
        _write(file, settings)


def _write(file: Path, settings: dict[str, Any]) -> None:
    """Write in place, not atomically: the folder is finished only when its last file is written."""
    file.write_text(json_text(settings), encoding="utf-8")


def _config(settings: dict[str, Any]) -> None:
    text = settings.get("text_config", {})
    rope = text.get("rope_parameters") or {}
    if "rope_theta" in rope:  # transformers 4 reads it here, and assumes 10,000 if it is missing
        text.setdefault("rope_theta", rope["rope_theta"])
        if rope.get("rope_type", "default") != "default":
            scaling = {k: v for k, v in rope.items() if k != "rope_theta"}
            text.setdefault("rope_scaling", scaling)
    if text:
        text.setdefault("architectures", ["LlamaForCausalLM"])


def _tokenizer(settings: dict[str, Any]) -> None:
    """Convert the form of transformers 5 to that of published checkpoints, which transformers 5 reads too."""
    if settings.get("tokenizer_class") == "TokenizersBackend":
        settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    named = settings.pop("model_specific_special_tokens", None)
    extra = settings.get("extra_special_tokens")
    if isinstance(extra, list):
        settings["additional_special_tokens"] = extra
        del settings["extra_special_tokens"]
    if named:
        settings["extra_special_tokens"] = named
    for here in ("backend", "is_local", "local_files_only"):  # only true on this machine
        settings.pop(here, None)
    settings["transformers_version"] = transformers.__version__


def _processor(settings: dict[str, Any]) -> None:
    side = settings["video_processor"]["max_image_size"]["longest_edge"]
    square = {"height": side, "width": side}
    settings["image_processor"] |= {"do_image_splitting": False, "size": square}
    settings["video_processor"]["size"] = square
    if "video_sampling" in settings["video_processor"]:
        settings["video_processor"]["video_sampling"]["video_size"] = square
