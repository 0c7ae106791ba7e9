"""An adapter into its base: one whole model, checked to say what both say together."""

from __future__ import annotations

import errno
import io
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import SmolVLMForConditionalGeneration, SmolVLMProcessor

from data.errors import UserError, this_python
from data.storage import write_atomically
from train.batches.encode import frame_size_px, normalise
from train.console import say
from train.inference import fingerprint
from train.inference.config import MergeConfig
from train.inference.describe import generation_prompt, processor_of
from train.model.adapter import with_adapter
from train.model.load import DTYPES, Precision, load_model
from train.run.files import FINGERPRINT, METRICS, POLICY_FILE, RECORD, json_text, read_json
from train.run.saved import SavedRun, read_run
from train.run.saving import save_weights

FRAMES = 4
"""Of the sample on which merged and unmerged are compared."""
TOLERANCE = 1e-3
"""Largest difference of logits that two orders of adding up may make in fp32, relative to their spread."""
ROUNDED_TOLERANCE = 1.0
"""The same of weights as they are saved: bf16 differs by some hundredths; NaN is within no tolerance."""


@dataclass(frozen=True)
class Agreement:
    """Merged beside unmerged, on one sample."""

    difference: float
    """Largest difference of a logit, ÷ the logits' standard deviation, both in fp32."""
    rounded: float
    """The same with merged weights as they are saved."""
    same_words: float
    """Share of positions at which the saved model thinks the same word the likeliest."""


def merge(config: MergeConfig) -> Agreement:
    """Write a folder that transformers loads by itself.

    Raises:
        UserError: nothing to merge, no place for it, or merged and unmerged disagree.
    """
    out = Path(config.out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"out={out}: is there already; choose another folder")
    run = read_run(config.adapter, base=config.model.name, force=config.force)
    if not run.is_adapter:
        raise UserError(f"adapter={config.adapter}: is a whole model already; nothing to merge")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    # never into 4-bit weights: what merging adds would be rounded away
    base = load_model(run.base, "lora", Precision(device, torch.float32))
    processor = processor_of(run)
    model = with_adapter(base, run).to(torch.device(device)).eval()
    fingerprint.check_fingerprint(run, model, processor)
    sample = _sample(processor, run)
    apart = _logits(model, sample)
    merged: Any = model.merge_and_unload(safe_merge=True)
    together = _logits(merged, sample)
    merged = merged.to(DTYPES[config.dtype])
    saved = _logits(merged, sample)
    spread = float(apart.std())
    found = Agreement(
        float((together - apart).abs().max()) / spread,
        float((saved - apart).abs().max()) / spread,
        float((saved.argmax(-1) == apart.argmax(-1)).float().mean()),
    )
    say(
        f"merged and unmerged logits differ by {found.difference:.1e} of their spread at most (fp32); saved in "
        f"{config.dtype} by {found.rounded:.1e}, with the same likeliest word at {found.same_words:.1%} of positions"
    )
    if not found.rounded <= ROUNDED_TOLERANCE:
        better = "fp32" if config.dtype == "bf16" else "bf16 or dtype=fp32"
        raise UserError(
            f"dtype={config.dtype}: saved like that, the merged model would say something else, so nothing is saved; "
            f"its weights or activations leave that range; give dtype={better}"
        )
    if not found.difference <= TOLERANCE:
        raise UserError(
            f"adapter={config.adapter}: merged and unmerged disagree, so nothing is saved; please report this"
        )
    unfinished = out.with_name(f"{out.name}.unfinished-{os.getpid()}")
    try:
        _save(merged, processor, run, unfinished)
        unfinished.rename(out)  # whole, or not there
    except BaseException as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        if isinstance(error, OSError) and error.errno == errno.ENOTEMPTY:
            raise UserError(f"out={out}: another merge came first; choose another folder") from None
        raise
    say(
        f"saved in {out}; for a server of it (vLLM, llama.cpp), a video's request: "
        f"{this_python()} scripts/describe.py VIDEO adapter={out} format=request"
    )
    return found


def _sample(processor: SmolVLMProcessor, run: SavedRun) -> dict[str, Any]:
    """A prompt with pictures of noise."""
    side = frame_size_px(processor)
    row = {
        "id": "noise",
        "times_s": [float(i) for i in range(FRAMES)],
        "duration_s": float(FRAMES),
        "ranks": list(range(FRAMES)),
        "prompt": "",
        "system": "",
        "context": "",
        "frames": [{"bytes": _noise(side, i)} for i in range(FRAMES)],
    }
    prompt = generation_prompt(row, processor, run.data)
    return {
        "input_ids": torch.tensor([prompt["input_ids"]]),  # (1, T)
        "pixel_values": normalise(prompt["frames"], processor).unsqueeze(0),  # (1, F, 3, S, S)
    }


def _noise(side: int, seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


def _logits(model: torch.nn.Module, sample: dict[str, Any]) -> torch.Tensor:
    """(T, V) in fp32, on the CPU."""
    first = next(model.parameters())
    given = {k: v.to(first.device) for k, v in sample.items()}
    given["pixel_values"] = given["pixel_values"].to(first.dtype)
    with torch.inference_mode():
        out: torch.Tensor = model(**given).logits[0]
    return out.float().cpu()


def _save(
    merged: SmolVLMForConditionalGeneration, processor: SmolVLMProcessor, run: SavedRun, out: Path
) -> None:
    """Model, processor and what the run recorded; the record last."""
    save_weights(merged, processor, out)
    for name in (POLICY_FILE, FINGERPRINT, METRICS, "config.yaml"):
        if (run.folder / name).is_file():
            write_atomically(out / name, (run.folder / name).read_text(encoding="utf-8"))
    if (run.folder / RECORD).is_file():
        record = {**read_json(run.folder / RECORD), "merged": True}
        write_atomically(out / RECORD, json_text(record))
