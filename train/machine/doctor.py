"""What this machine can train: one line per finding; a problem says how to fix it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import psutil
import torch
from joblib import cpu_count

from data.config import GIB, load
from data.errors import UserError, first_line, this_python
from data.video.codec_check import decodable
from train.config import TrainConfig
from train.machine.packages import Finding
from train.memory.plan import batch_shape, free_gib, plan
from train.memory.shapes import shape_of
from train.model.load import pick_precision

RECIPES = ("qlora", "t4", "lora", "full", "full_2b")
FRAMES, ANSWER_TOKENS = 32, 300
DISK_GIB = 20
"""Space for a 2.2B checkpoint, its run and a few hundred prepared videos."""


def findings(*, recipes: bool) -> Iterator[Finding]:
    """The findings to read before a first run; all packages must be installed (`train.machine.packages`).
    `recipes`: also plan each recipe, which takes a while."""
    yield from device()
    yield four_bits()
    yield from decoders()
    yield hub()
    yield from machine()
    if recipes:
        yield from fitting()


def next_step() -> str:
    """The commands to run next on this machine."""
    python = this_python()
    if not torch.cuda.is_available():
        return "make demo (the whole way on a CPU), or train with model.name=tiny"
    recipe = "qlora" if torch.cuda.is_bf16_supported(including_emulation=False) else "t4"
    return (
        f"{python} scripts/prepare.py source=jsonl source.path=YOUR.jsonl out=prepared/videos, then "
        f"accelerate launch train/sft.py recipe={recipe} data.path=prepared/videos"
    )


def device() -> Iterator[Finding]:
    """Findings on GPU, precision and attention."""
    precision = pick_precision("auto")
    if precision.device == "cpu":
        built = torch.version.cuda
        why = "no CUDA device is seen" if built else "this torch is built without CUDA"
        yield Finding(
            "note", "gpu", f"{why}: model.name=tiny trains here, the 256M model with patience"
        )
    for i in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(i)
        free = torch.cuda.mem_get_info(i)[0] / GIB
        yield Finding(
            "ok",
            f"gpu {i}",
            f"{about.name}, {about.total_memory / GIB:.1f} GiB, {free:.1f} free, compute {about.major}.{about.minor}, CUDA {torch.version.cuda}",
        )
    if torch.cuda.device_count() > 1:
        yield Finding(
            "note",
            "several gpus",
            "accelerate launch --config_file recipes/accelerate/ddp.yaml uses them all; CUDA_VISIBLE_DEVICES=0 one",
        )
    why = {torch.float16: ", as bf16 is not native here", torch.float32: " on a CPU"}.get(
        precision.compute, ""
    )
    flash = "; flash-attn is installed too" if find_spec("flash_attn") else ""
    yield Finding(
        "ok",
        "precision",
        f"{str(precision.compute).removeprefix('torch.')}{why}; attention: sdpa{flash}",
    )


def four_bits() -> Finding:
    """Try a real 4-bit layer, forward and backward, on the device that would train."""
    from bitsandbytes.nn import Linear4bit

    where = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        layer = Linear4bit(128, 128, bias=False, compute_dtype=torch.float32, quant_type="nf4")
        x = torch.randn(2, 128, device=where, requires_grad=True)
        layer.to(where)(x).sum().backward()
        fine = x.grad is not None and bool(torch.isfinite(x.grad).all())
    except (RuntimeError, NotImplementedError, OSError) as error:
        return Finding(
            "note",
            "4-bit layers",
            f"fail on {where} ({first_line(error)}); recipe=lora needs none, or pip install -U bitsandbytes",
        )
    if not fine:
        return Finding(
            "note",
            "4-bit layers",
            f"give no finite gradients on {where}; recipe=lora needs none, or pip install -U bitsandbytes",
        )
    return Finding("ok", "4-bit layers", f"bitsandbytes works on {where}")


def decoders() -> Iterator[Finding]:
    """Which codecs each decoder reads, tried on clips made here."""
    with TemporaryDirectory() as work:
        found = decodable(Path(work))
    for decoder in ("pyav", "decord"):
        reads = [codec for codec, by in found.items() if by is not None and by[decoder]]
        fails = [codec for codec, by in found.items() if by is not None and not by[decoder]]
        untried = [codec for codec, by in found.items() if by is None]
        text = f"reads {', '.join(reads) or 'nothing'}"
        text += f"; not {', '.join(fails)}" if fails else ""
        text += f"; not tried: {', '.join(untried)} (no encoder here)" if untried else ""
        bad = decoder == "pyav" and "h264" not in reads
        yield Finding("BAD" if bad else "note" if fails else "ok", decoder, text)


def hub() -> Finding:
    """Whether this machine is logged in to the Hub. The token itself is never shown."""
    from huggingface_hub import HfApi, constants, get_token
    from huggingface_hub.errors import HfHubHTTPError, HTTPError

    if constants.HF_HUB_OFFLINE:
        return Finding(
            "note", "hub", "HF_HUB_OFFLINE is set: only what is in the cache can be used"
        )
    if get_token() is None:
        return Finding(
            "note",
            "hub",
            "not logged in: public models can be read; `hf auth login` for FineVideo and for pushing",
        )
    try:
        name = HfApi().whoami()["name"]
    except HfHubHTTPError:
        return Finding("note", "hub", "the token is refused: `hf auth login` again")
    except (HTTPError, ConnectionError, OSError):
        return Finding("note", "hub", "a token is stored, but the Hub cannot be reached")
    return Finding("ok", "hub", f"logged in as {name}")


def machine() -> Iterator[Finding]:
    """Findings on cores, memory and disk."""
    from huggingface_hub import constants

    memory = psutil.virtual_memory()
    yield Finding(
        "ok",
        "machine",
        f"{cpu_count()} cores, {memory.total / GIB:.1f} GiB of memory, {memory.available / GIB:.1f} free",
    )
    for what, folder in (
        ("disk here", Path.cwd()),
        ("disk of the Hub's cache", Path(constants.HF_HUB_CACHE)),
    ):
        there = next(p for p in (folder, *folder.parents) if p.exists())
        free = shutil.disk_usage(there).free / GIB
        less = free < DISK_GIB
        yield Finding(
            "note" if less else "ok",
            what,
            f"{free:.0f} GiB free"
            + (f"; a 2.2B run with 500 videos needs {DISK_GIB}" if less else ""),
        )
    writable = os.access(Path.cwd(), os.W_OK)
    if not writable:
        yield Finding("BAD", "folder", f"{Path.cwd()} is not writable")


def fitting() -> Iterator[Finding]:
    """The planned memory of each recipe, compared with what is free here."""
    if not torch.cuda.is_available():
        yield Finding(
            "note", "recipes", "need a GPU; scripts/plan.py recipe=qlora gpu=t4 plans for one"
        )
        return
    precision, free = pick_precision("auto"), free_gib("cuda")
    for name in RECIPES:
        config = load(TrainConfig, [f"recipe={name}"])
        try:
            compute = pick_precision(config.model.dtype).compute
        except UserError as error:
            yield Finding("note", f"recipe={name}", str(error))
            continue
        shape = shape_of(config.model)
        needs = plan(
            shape,
            config,
            batch_shape(config.train, config.data, shape, FRAMES, ANSWER_TOKENS),
            compute,
        ).peak_gib
        verdict: Literal["ok", "note"] = "ok" if needs <= free else "note"
        yield Finding(
            verdict,
            f"recipe={name}",
            f"{'fits' if needs <= free else 'does not fit'}: {needs:.1f} of {free:.1f} GiB at {FRAMES} frames a video, {precision.compute}",
        )
