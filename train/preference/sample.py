"""What scripts/sample.py does: answers sampled from a describer, scored, and paired."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from data.errors import UserError
from data.locks import locked
from data.prepared.dataset import Prepared
from data.window import window_of
from train.batches.survey import TEXT_COLUMNS
from train.console import say
from train.evaluation.answers import answers
from train.evaluation.config import GenerateKeys
from train.evaluation.systems import kept_out
from train.preference.config import SampleConfig
from train.preference.page import write_page_of
from train.preference.pairs import ANSWERS, PAGE, RECORD, Pair, Pairs, read_pairs, write_pairs
from train.preference.rivals import (
    SAMPLED,
    Rivals,
    drawn,
    paired,
    rewards_of,
    sampled,
    summary,
    worsened,
)
from train.preference.worse import WORSE
from train.run.saved import SavedRun, read_run

Row = dict[str, Any]


def sample(config: SampleConfig) -> Pairs:
    """Sample answers, score them, and write the folder of pairs; a run that was killed goes on.

    Raises:
        UserError: the folder holds pairs already, the run or the dataset cannot be read, or no pair is left.
    """
    folder = Path(config.folder)
    if (folder / RECORD).exists() and not config.overwrite:
        raise UserError(f"out={folder}: holds pairs; choose another out, or add overwrite=true")
    run = read_run(config.run, force=config.force, key="run")
    dataset = Prepared.open(config.data.path)
    left_out: Counter[str] = Counter()
    rows, texts = rows_to_ask(config, run, dataset, left_out)
    with locked(folder, f"out={folder}"):
        rivals = _rivals(config, run, rows, texts, folder, left_out)
        rewards = rewards_of(config, rivals, texts, run.data)
        pairs = paired(rivals, rewards, config.margin, left_out)
        if not pairs:
            why = ", ".join(f"{count} × {what}" for what, count in left_out.items())
            raise UserError(
                f"out={folder}: no pair is left of {len(rows)} rows ({why}); raise generate.temperature, lower "
                "margin, or give other makers"
            )
        record = {
            **_about(config, run, dataset),
            "rows": len(rows),
            "left_out": dict(left_out),
            **summary(rivals, rewards, pairs),
        }
        write_page_of(folder / PAGE, pairs, rows, record, config.shown)
        write_pairs(folder, pairs, record)
    say(shown(pairs, record))
    say(f"{len(pairs)} pairs of {len(rows)} rows in {folder}; look at {folder / PAGE}")
    return read_pairs(str(folder), "out")


def rows_to_ask(
    config: SampleConfig, run: SavedRun, dataset: Prepared, left_out: Counter[str]
) -> tuple[Dataset, list[Row]]:
    """The rows that are described, and their texts. Windows in which nothing is told are left out, and counted.

    Raises:
        UserError: none is left.
    """
    rows = dataset.rows()
    held = kept_out(run, dataset, rows) if config.data.part == "learned" else None
    wanted: dict[int, Row] = {}
    for place, row in enumerate(rows.select_columns(TEXT_COLUMNS)):
        if held and row["sample_id"] in held:
            continue
        if window_of(row) is not None and not row["events"]:
            left_out["windows in which nothing is told"] += 1
            continue
        wanted[place] = row
    if not wanted:
        why = "the run held all of it out; give data.part=all" if held else "nothing is told in it"
        raise UserError(f"data.path={config.data.path}: no row to describe ({why})")
    asked = list(wanted)[: config.data.limit]
    return rows.select(asked), [wanted[place] for place in asked]


def _rivals(
    config: SampleConfig,
    run: SavedRun,
    rows: Dataset,
    texts: Sequence[Row],
    folder: Path,
    left_out: Counter[str],
) -> list[Rivals]:
    """Generate what is to be sampled, and make worse what is to be made worse."""
    rivals: list[Rivals] = []
    asked = drawn(SAMPLED, config.makers.sampled, texts, config.seed)
    if asked:
        said = answers(
            run,
            rows.select(asked),
            GenerateKeys(**config.generate.model_dump(), seed=config.seed),
            folder / ANSWERS,
            dtype=config.dtype,
            overwrite=config.overwrite,
            draws=config.samples,
        )
        rivals += sampled([texts[i] for i in asked], said, config.samples)
    shares = config.makers.model_dump()
    for maker in WORSE:
        some = [texts[i] for i in drawn(maker, shares[maker], texts, config.seed)]
        rivals += worsened(maker, some, run.data, config.seed, left_out)
    return rivals


def _about(config: SampleConfig, run: SavedRun, dataset: Prepared) -> dict[str, Any]:
    """What the pairs are made of."""
    return {
        "run": config.run,
        "dataset": {
            "path": dataset.url,
            "sha256": dataset.sha256,
            "manifest_sha256": dataset.manifest_sha256,
        },
        "asked": {key: getattr(run.data, key) for key in ("target", "clock", "window_clock")},
        "samples": config.samples,
        "generate": config.generate.model_dump(),
        "reward": config.reward.model_dump(),
        "soda_text": config.soda_text,
        "judge": config.judge.model,
        "makers": config.makers.model_dump(),
        "margin": config.margin,
        "seed": config.seed,
    }


def shown(pairs: Sequence[Pair], record: Mapping[str, Any]) -> str:
    """What was made and what was left out, for the terminal."""
    lines = [f"{'made by':<10} {'pairs':>6}  reward of chosen  of rejected"]
    for maker, count in record["pairs"].items():
        own = [pair for pair in pairs if pair.maker == maker]
        chosen = np.mean([pair.chosen_reward for pair in own])
        rejected = np.mean([pair.rejected_reward for pair in own])
        lines.append(f"{maker:<10} {count:>6}  {chosen:>16.3f}  {rejected:>11.3f}")
    if (found := record["rewards"]) is not None:
        lines.append(
            f"sampled answers: reward {found['mean']:.3f} on average, {found['best']:.3f} the best of "
            f"{record['samples']}, {found['worst']:.3f} the worst"
        )
    lines += [f"left out: {count} × {what}" for what, count in record["left_out"].items()]
    lines += [f"note: {count} sampled answers: {what}" for what, count in record["flags"].items()]
    return "\n".join(lines)
