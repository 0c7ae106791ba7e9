"""What a model says of videos: batch by batch, kept as it comes, continued where it stopped."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel
from tqdm import tqdm
from transformers import PreTrainedModel, SmolVLMProcessor

from data.errors import UserError
from data.storage import write_atomically
from train.batches.encode import TooLong
from train.evaluation.config import GenerateKeys
from train.inference.describe import answer, generation_prompt, load_run
from train.run.saved import SavedRun
from train.sections import DataKeys

ASKED = ("target", "prompt", "system", "max_tokens")
"""Keys of a run that decide what its model is asked."""


@dataclass(frozen=True)
class GeneratedAnswer:
    """One answer and what it took."""

    id: str
    text: str
    cut: bool
    frames: int
    seconds: float
    """Of its share of the batch."""
    given: str
    """Names all that the model was given for it (`given_to`)."""


def answers(
    run: SavedRun, rows: Dataset, keys: GenerateKeys, file: Path, *, dtype: str, overwrite: bool
) -> list[GeneratedAnswer]:
    """An answer for every row, in order; `file` holds those that were there before, and gets each
    new batch at once. An answer counts for the very pictures and texts that it was an answer to.

    Raises:
        UserError: the file holds answers of something else, or the model cannot be loaded.
    """
    about = identity(run, keys, dtype)
    given = [given_to(row, run.data) for row in rows]
    wanted = list(zip(rows["id"], given, strict=True))
    there = {(said.id, said.given): said for said in _there(file, about, dict(wanted), overwrite)}
    batches = [range(i, min(i + keys.batch, len(rows))) for i in range(0, len(rows), keys.batch)]
    # whole batches only: what stands beside an answer in a batch may change its last bits
    missing = [b for b in batches if any(wanted[i] not in there for i in b)]
    if missing:
        model, processor = load_run(run, dtype)
        with (
            file.open("a", encoding="utf-8") as lines,
            tqdm(desc=f"describe {file.stem}", total=len(rows), unit="video") as bar,
        ):
            bar.update(len(rows) - sum(map(len, missing)))
            for batch in missing:
                some = [rows[i] for i in batch]
                names = [given[i] for i in batch]
                for said in _describe(model, processor, run, some, names, keys, batch.start):
                    there[said.id, said.given] = said
                    lines.write(json.dumps(asdict(said)) + "\n")
                lines.flush()
                os.fsync(lines.fileno())
                bar.update(len(batch))
    return [there[one] for one in wanted]


def _describe(
    model: PreTrainedModel | PeftModel,
    processor: SmolVLMProcessor,
    run: SavedRun,
    rows: Sequence[dict[str, Any]],
    given: Sequence[str],
    keys: GenerateKeys,
    number: int,
) -> Iterator[GeneratedAnswer]:
    """One batch. A prompt that is too long even with one frame is answered by nothing, and so is
    flagged as empty."""
    started = time.monotonic()
    prompts, asked = [], []
    for row, name in zip(rows, given, strict=True):
        try:
            prompts.append(generation_prompt(row, processor, run.data))
            asked.append(name)
        except TooLong:
            yield GeneratedAnswer(row["id"], "", cut=False, frames=0, seconds=0.0, given=name)
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
    for prompt, said, name in zip(prompts, texts, asked, strict=True):
        yield GeneratedAnswer(
            prompt["id"], said.text, said.cut, len(prompt["frames"]), seconds, name
        )


def given_to(row: dict[str, Any], keys: DataKeys) -> str:
    """A hash of all that a model is given of a row: pictures, times, every text, and how they go together."""
    digest = hashlib.sha256()
    texts = {
        key: row[key] for key in ("times_s", "duration_s", "ranks", "prompt", "system", "context")
    }
    asked = {key: value for key, value in keys.model_dump().items() if key in ASKED}
    digest.update(json.dumps([texts, asked], sort_keys=True).encode())
    for frame in row["frames"]:
        digest.update(hashlib.sha256(frame["bytes"]).digest())
    return digest.hexdigest()


def identity(run: SavedRun, keys: GenerateKeys, dtype: str) -> dict[str, Any]:
    """Who answers, and how: two with one identity say the same to the same."""
    base = Path(run.base.name)
    return {
        "model": str(run.folder),
        "base": run.base.name,
        "revision": run.base.revision,
        "weights": weights_sha256(run.folder),
        "base_weights": weights_sha256(base) if base != run.folder else None,
        "dtype": dtype,
        "generate": keys.model_dump(),
    }


def weights_sha256(folder: Path) -> str | None:
    """Of a folder's weights, about a second a gigabyte; None for a checkpoint on the Hub, which its
    commit names."""
    files = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    if not files:
        return None
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _there(
    file: Path, about: dict[str, Any], given: Mapping[str, str], overwrite: bool
) -> list[GeneratedAnswer]:
    """Answers of an earlier run of the same kind; those to something else by now are forgotten."""
    about = json.loads(json.dumps(about))
    there: list[GeneratedAnswer] = []
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
        every = [GeneratedAnswer(**json.loads(line)) for line in lines[1:]]
        there = [said for said in every if given.get(said.id, said.given) == said.given]
    kept = [json.dumps(about), *(json.dumps(asdict(said)) for said in there)]
    write_atomically(file, "\n".join(kept) + "\n")
    return there


def _changed(line: str, about: dict[str, Any]) -> Sequence[str]:
    try:
        before = json.loads(line)
    except ValueError:
        return ["the file"]
    return [key for key in about if not isinstance(before, dict) or before.get(key) != about[key]]
