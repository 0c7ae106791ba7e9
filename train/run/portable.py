"""What a saved folder needs for other programs to see and read as the training did.

They know nothing of frames that are pictures of one video: each would be cut into 13 or 17 tiles and
an overview. They read older names of settings, and stay silent where one is missing.
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
    """Rewrite the settings beside weights that were just saved in `folder`; what is not there is passed over.

    - A picture is one square, resized once: what training made of a frame, in as many tokens.
    - transformers 4 finds its names: `rope_theta`, a tokenizer class, special tokens.
    - The chat template is the one that training used, where the checkpoint brings none.
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
    # converters, and transformers 4, look for it in a file of its own
    _write(folder / "preprocessor_config.json", read_json(processor)["image_processor"])
    if not (folder / TEMPLATE).is_file():
        (folder / TEMPLATE).write_text(DEFAULT_CHAT_TEMPLATE, encoding="utf-8")


def _rewrite(file: Path, change: Callable[[dict[str, Any]], None]) -> None:
    if file.is_file():
        told = read_json(file)
        change(told)
        _write(file, told)


def _write(file: Path, told: dict[str, Any]) -> None:
    """In place: the folder is not finished yet, and its last file says when it is."""
    file.write_text(json_text(told), encoding="utf-8")


def _config(told: dict[str, Any]) -> None:
    text = told.get("text_config", {})
    rope = text.get("rope_parameters") or {}
    if "rope_theta" in rope:  # transformers 4 reads it here, and takes 10,000 where it is missing
        text.setdefault("rope_theta", rope["rope_theta"])
        if rope.get("rope_type", "default") != "default":
            scaling = {k: v for k, v in rope.items() if k != "rope_theta"}
            text.setdefault("rope_scaling", scaling)
    if text:
        text.setdefault("architectures", ["LlamaForCausalLM"])


def _tokenizer(told: dict[str, Any]) -> None:
    """From the form of transformers 5 to the one that checkpoints are published in, which 5 reads too."""
    if told.get("tokenizer_class") == "TokenizersBackend":
        told["tokenizer_class"] = "PreTrainedTokenizerFast"
    named = told.pop("model_specific_special_tokens", None)
    extra = told.get("extra_special_tokens")
    if isinstance(extra, list):
        told["additional_special_tokens"] = extra
        del told["extra_special_tokens"]
    if named:
        told["extra_special_tokens"] = named
    for here in ("backend", "is_local", "local_files_only"):  # of this machine
        told.pop(here, None)
    told["transformers_version"] = transformers.__version__


def _processor(told: dict[str, Any]) -> None:
    side = told["video_processor"]["max_image_size"]["longest_edge"]
    square = {"height": side, "width": side}
    told["image_processor"] |= {"do_image_splitting": False, "size": square}
    told["video_processor"]["size"] = square
    if "video_sampling" in told["video_processor"]:
        told["video_processor"]["video_sampling"]["video_size"] = square
