"""Generated answers of a model: stored batch by batch, so that an interrupted run continues."""

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

from data.errors import differing, made_otherwise
from data.storage import write_atomically
from data.window import as_seen
from train.batches.encode import TooLong
from train.evaluation.config import GenerateKeys
from train.inference.generate import answer, generation_prompt, load_run
from train.inference.identity import model_identity
from train.run.saved import SavedRun
from train.sections import DataKeys

ASKED = ("target", "clock", "window_clock", "prompt", "system", "max_tokens")
"""Keys of a run that determine its prompts."""


@dataclass(frozen=True)
class GeneratedAnswer:
    """One answer, with its number of frames and its time."""

    id: str
    text: str
    cut: bool
    frames: int
    seconds: float
    """Time of the batch ÷ number of its prompts."""
    given: str
    """Hash of the model's input (`given_to`)."""
    draw: int = 0
    """Number of the answer, of several that are sampled for one row."""


def answers(
    run: SavedRun,
    rows: Dataset,
    keys: GenerateKeys,
    file: Path,
    *,
    dtype: str,
    overwrite: bool,
    compress: float = 0.0,
    draws: int = 1,
) -> list[GeneratedAnswer]:
    """An answer per row, in order, or several: `draws` of the first row, then of the second, ….

    Answers that `file` already holds are reused if the frames and texts are exactly the same. Each new
    batch is appended to it at once.

    Raises:
        UserError: the file holds answers of another evaluation, or the model cannot be loaded.
    """
    about = identity(run, keys, dtype, compress, draws)
    given = [given_to(row, run.data) for row in rows]
    inputs = list(zip(rows["id"], given, strict=True))
    stored = _stored_answers(file, about, dict(inputs), overwrite)
    there = {(said.id, said.given, said.draw): said for said in stored}
    batches = [range(i, min(i + keys.batch, len(rows))) for i in range(0, len(rows), keys.batch)]
    # whole batches only: the other prompts of a batch may change the last bits of a result
    every = range(draws)
    missing = [b for b in batches if any((*inputs[i], n) not in there for i in b for n in every)]
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
                for said in _describe(
                    model, processor, run, some, names, keys, batch.start, compress, draws
                ):
                    there[said.id, said.given, said.draw] = said
                    lines.write(json.dumps(asdict(said)) + "\n")
                lines.flush()
                os.fsync(lines.fileno())
                bar.update(len(batch))
    return [there[(*one, n)] for one in inputs for n in every]


def _describe(
    model: PreTrainedModel | PeftModel,
    processor: SmolVLMProcessor,
    run: SavedRun,
    rows: Sequence[dict[str, Any]],
    given: Sequence[str],
    keys: GenerateKeys,
    number: int,
    compress: float,
    draws: int,
) -> Iterator[GeneratedAnswer]:
    """Answers of one batch. A prompt that is too long even with one frame gets an empty answer, which
    scoring flags as `empty`."""
    started = time.monotonic()
    prompts, asked = [], []
    for row, name in zip(rows, given, strict=True):
        try:
            prompts.append(generation_prompt(row, processor, run.data))
            asked.append(name)
        except TooLong:
            for draw in range(draws):
                yield GeneratedAnswer(row["id"], "", False, 0, 0.0, name, draw)
    if not prompts:
        return
    torch.manual_seed(keys.seed + number)
    texts = answer(
        model,
        processor,
        prompts,
        max_new_tokens=keys.max_new_tokens,
        temperature=keys.temperature,
        compress=compress,
        draws=draws,
    )
    seconds = round((time.monotonic() - started) / len(texts), 3)
    for n, said in enumerate(texts):
        place, draw = divmod(n, draws)
        frames = len(prompts[place]["frames"])
        yield GeneratedAnswer(
            prompts[place]["id"], said.text, said.cut, frames, seconds, asked[place], draw
        )


def given_to(row: dict[str, Any], keys: DataKeys) -> str:
    """SHA-256 of a row's whole input to a model: frames, times, all texts, and the keys that combine them."""
    digest = hashlib.sha256()
    row = as_seen(row, keys.window_clock)
    texts = {
        key: row[key] for key in ("times_s", "duration_s", "ranks", "prompt", "system", "context")
    }
    # of rows without a context, so that answers stay valid that were given before there was the key
    also = ("context_tokens",) if row["context"] else ()
    asked = {key: value for key, value in keys.model_dump().items() if key in (*ASKED, *also)}
    digest.update(json.dumps([texts, asked], sort_keys=True).encode())
    for frame in row["frames"]:
        digest.update(hashlib.sha256(frame["bytes"]).digest())
    return digest.hexdigest()


def identity(
    run: SavedRun, keys: GenerateKeys, dtype: str, compress: float = 0.0, draws: int = 1
) -> dict[str, Any]:
    """Model, weights, precision and generation settings: if equal, equal inputs get equal answers."""
    generate = keys.model_dump()
    if compress:
        generate["compress"] = compress
    if draws > 1:
        generate["draws"] = draws
    return {**model_identity(run), "dtype": dtype, "generate": generate}


def _stored_answers(
    file: Path, about: dict[str, Any], given: Mapping[str, str], overwrite: bool
) -> list[GeneratedAnswer]:
    """Answers of an earlier run with the same identity. Those whose input has changed since are dropped
    from the file."""
    there: list[GeneratedAnswer] = []
    lines = (
        file.read_text(encoding="utf-8").split("\n")[:-1] if file.is_file() else []
    )  # complete lines
    if lines and not overwrite:
        if names := differing(_record(lines[0]), about):
            raise made_otherwise(str(file), "answers", names)
        every = [GeneratedAnswer(**json.loads(line)) for line in lines[1:]]
        there = [said for said in every if given.get(said.id, said.given) == said.given]
    kept = [json.dumps(about), *(json.dumps(asdict(said)) for said in there)]
    write_atomically(file, "\n".join(kept) + "\n")
    return there


def _record(line: str) -> dict[str, Any]:
    """The first line of a file of answers; empty if it is another file's."""
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
