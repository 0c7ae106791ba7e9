"""What a model says of videos: batch by batch, kept as it comes, continued where it stopped."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel
from tqdm import tqdm
from transformers import PreTrainedModel, SmolVLMProcessor

from data.config import UserError
from data.storage import write_atomically
from train.describe import answer, load_run, prompt_of
from train.encode import TooLong
from train.evaluation.config import GenerateKeys
from train.save import SavedRun


@dataclass(frozen=True)
class Said:
    """One answer and what it took."""

    id: str
    text: str
    cut: bool
    frames: int
    seconds: float
    """Of its share of the batch."""


def answers(
    run: SavedRun, rows: Dataset, keys: GenerateKeys, file: Path, *, dtype: str, overwrite: bool
) -> list[Said]:
    """An answer for every row, in order; `file` holds those that were there before, and gets each
    new batch at once.

    Raises:
        UserError: the file holds answers of something else, or the model cannot be loaded.
    """
    about = identity(run, rows, keys, dtype)
    there = _there(file, about, overwrite)
    batches = [range(i, min(i + keys.batch, len(rows))) for i in range(0, len(rows), keys.batch)]
    # whole batches only: what stands beside an answer in a batch may change its last bits
    ids = rows["id"]
    missing = [b for b in batches if any(ids[i] not in there for i in b)]
    if missing:
        model, processor = load_run(run, dtype)
        with (
            file.open("a", encoding="utf-8") as lines,
            tqdm(desc=f"describe {file.stem}", total=len(rows), unit="video") as bar,
        ):
            bar.update(len(rows) - sum(map(len, missing)))
            for batch in missing:
                for said in _describe(model, processor, run, rows.select(batch), keys, batch.start):
                    there[said.id] = said
                    lines.write(json.dumps(asdict(said)) + "\n")
                lines.flush()
                os.fsync(lines.fileno())
                bar.update(len(batch))
    return [there[name] for name in ids]


def _describe(
    model: PreTrainedModel | PeftModel,
    processor: SmolVLMProcessor,
    run: SavedRun,
    rows: Dataset,
    keys: GenerateKeys,
    number: int,
) -> Iterator[Said]:
    """One batch. A prompt that is too long even with one frame is answered by nothing, and so is
    flagged as empty."""
    started = time.monotonic()
    prompts = []
    for row in rows:
        try:
            prompts.append(prompt_of(row, processor, run.data))
        except TooLong:
            yield Said(row["id"], "", cut=False, frames=0, seconds=0.0)
    if not prompts:
        return
    torch.manual_seed(keys.seed + number)
    texts = answer(
        model,
        processor,
        prompts,
        max_new_tokens=keys.max_new_tokens,
        temperature=keys.temperature,
    )
    seconds = round((time.monotonic() - started) / len(prompts), 3)
    for prompt, said in zip(prompts, texts, strict=True):
        yield Said(prompt["id"], said.text, said.cut, len(prompt["frames"]), seconds)


def identity(run: SavedRun, rows: Dataset, keys: GenerateKeys, dtype: str) -> dict[str, Any]:
    """What decides the answers: two runs with one identity say the same."""
    seen = hashlib.sha256()
    for name, times in zip(rows["id"], rows["times_s"], strict=True):
        seen.update(repr((name, times)).encode("utf-8", "replace"))
    return {
        "model": str(run.folder),
        "base": run.base.name,
        "revision": run.base.revision,
        "weights": _weights(run.folder),
        "asked": {k: v for k, v in run.data.model_dump().items() if k in ("target", "prompt", "system", "max_tokens")},
        "frames": seen.hexdigest(),
        "dtype": dtype,
        "generate": keys.model_dump(),
    }  # fmt: skip


def _weights(folder: Path) -> list[Any]:
    """Names a folder's weights without reading them; nothing for a checkpoint on the Hub."""
    files = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    return [[f.name, f.stat().st_size, f.stat().st_mtime_ns] for f in files]


def _there(file: Path, about: dict[str, Any], overwrite: bool) -> dict[str, Said]:
    """Answers of an earlier run of the same kind."""
    about = json.loads(json.dumps(about))
    there: dict[str, Said] = {}
    lines = (
        file.read_text(encoding="utf-8").split("\n")[:-1] if file.is_file() else []
    )  # whole ones
    if lines and not overwrite:
        changed = _changed(lines[0], about)
        if changed:
            raise UserError(
                f"{file}: answers of another evaluation ({', '.join(changed)} differs); choose another "
                "out, or add overwrite=true"
            )
        there = {said.id: said for said in (Said(**json.loads(line)) for line in lines[1:])}
    kept = [json.dumps(about), *(json.dumps(asdict(said)) for said in there.values())]
    write_atomically(file, "\n".join(kept) + "\n")
    return there


def _changed(line: str, about: dict[str, Any]) -> Sequence[str]:
    try:
        before = json.loads(line)
    except ValueError:
        return ["the file"]
    return [key for key in about if not isinstance(before, dict) or before.get(key) != about[key]]
