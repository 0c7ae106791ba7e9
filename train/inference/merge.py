"""Merge an adapter into its base model, and check that the merged model predicts the same."""

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
from data.selection.config import SELECTOR_PATHS
from data.storage import atomic, write_atomically
from train.batches.frames import frame_size_px, normalise
from train.console import say
from train.inference import fingerprint
from train.inference.config import MergeConfig
from train.inference.generate import generation_prompt, processor_of
from train.model.adapter import with_adapter
from train.model.load import DTYPES, Precision, load_model
from train.run.files import FINGERPRINT, METRICS, POLICY_FILE, RECORD, json_text, read_json
from train.run.saved import SavedRun, read_run
from train.run.saving import save_weights

FRAMES = 4
"""Number of frames in the sample on which the merged and the unmerged model are compared."""
TOLERANCE = 1e-3
"""Largest difference of fp32 logits, ÷ their standard deviation, that another order of summation may make."""
ROUNDED_TOLERANCE = 1.0
"""The same for the saved precision: bf16 differs by some hundredths. NaN exceeds every tolerance."""


@dataclass(frozen=True)
class Agreement:
    """How far the merged and the unmerged model agree, on one sample."""

    difference: float
    """Largest difference of a logit, ÷ the logits' standard deviation, both in fp32."""
    rounded: float
    """The same with the merged weights in the precision in which they are saved."""
    same_words: float
    """Share of positions at which the saved model has the same most probable token."""


def merge(config: MergeConfig) -> Agreement:
    """Merge a run's adapter and write the model to a folder that transformers loads by itself.

    Raises:
        UserError: there is no adapter, `out` is taken, or the merged and the unmerged model disagree.
    """
    out = Path(config.out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"out={out}: is there already; choose another folder")
    run = read_run(config.adapter, base=config.model.name, force=config.force)
    if not run.is_adapter:
        raise UserError(f"adapter={config.adapter}: is a whole model already; nothing to merge")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    # never into 4-bit weights: the adapter's update would be rounded away
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
        f"merged and unmerged logits differ by at most {found.difference:.1e} standard deviations in fp32, "
        f"and by {found.rounded:.1e} in {config.dtype} as saved; the most probable token is the same at "
        f"{found.same_words:.1%} of positions"
    )
    if not found.rounded <= ROUNDED_TOLERANCE:
        better = "fp32" if config.dtype == "bf16" else "bf16 or dtype=fp32"
        raise UserError(
            f"dtype={config.dtype}: in this precision the merged model predicts something else, so nothing is "
            f"saved; its weights or activations exceed the range; use dtype={better}"
        )
    if not found.difference <= TOLERANCE:
        raise UserError(
            f"adapter={config.adapter}: merged and unmerged model disagree, so nothing is saved; please report this"
        )
    unfinished = out.with_name(f"{out.name}.unfinished-{os.getpid()}")
    try:
        _save(merged, processor, run, unfinished)
        unfinished.rename(out)  # complete, or absent
    except BaseException as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        if isinstance(error, OSError) and error.errno == errno.ENOTEMPTY:
            raise UserError(
                f"out={out}: another merge wrote it meanwhile; choose another folder"
            ) from None
        raise
    say(
        f"saved in {out}; the request to send to a server of this model (vLLM, llama.cpp): "
        f"{this_python()} scripts/describe.py VIDEO adapter={out} format=request"
    )
    return found


def _sample(processor: SmolVLMProcessor, run: SavedRun) -> dict[str, Any]:
    """A prompt with frames of noise."""
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
    """Logits of the sample, (T, V) in fp32, on the CPU."""
    first = next(model.parameters())
    given = {k: v.to(first.device) for k, v in sample.items()}
    given["pixel_values"] = given["pixel_values"].to(first.dtype)
    with torch.inference_mode():
        out: torch.Tensor = model(**given).logits[0]
    return out.float().cpu()


def _save(
    merged: SmolVLMForConditionalGeneration, processor: SmolVLMProcessor, run: SavedRun, out: Path
) -> None:
    """Save the model, the processor and the run's files, the run record last."""
    save_weights(merged, processor, out)
    for name in (POLICY_FILE, FINGERPRINT, METRICS, "config.yaml", *SELECTOR_PATHS):
        if (run.folder / name).is_file():
            (out / name).parent.mkdir(exist_ok=True)
            with atomic(out / name) as unfinished:
                unfinished.write_bytes((run.folder / name).read_bytes())
    if (run.folder / RECORD).is_file():
        record = {**read_json(run.folder / RECORD), "merged": True}
        write_atomically(out / RECORD, json_text(record))
