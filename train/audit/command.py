"""What scripts/audit.py does: what frames are worth to a model, row by row; doubtful rows on a page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from data.config import resolved
from data.errors import UserError, differing, made_otherwise
from data.locks import locked
from data.prepared.dataset import Prepared
from data.storage import write_atomically
from train.audit.config import AuditConfig
from train.audit.page import write_page_of
from train.audit.rank import Doubt, doubts, share_that_fits
from train.batches.survey import survey
from train.console import say
from train.evaluation.intervals import bootstrap, interval, mean
from train.evaluation.systems import kept_out
from train.inference.answer_loss import Describer
from train.inference.identity import model_identity
from train.inference.worth import VERSION, Worth, measured
from train.run.files import read_rows
from train.run.saved import SavedRun, read_run

LOSSES, LIST, RECORD, PAGE = "losses.jsonl", "doubtful.jsonl", "audit.json", "audit.html"


def audit(config: AuditConfig) -> dict[str, Any]:
    """Write the figures of every row, the list of doubtful ones and the page; returns the record. A run that was killed
    goes on.

    Raises:
        UserError: `out` holds another audit, or the run or the dataset cannot be read.
    """
    folder = Path(config.out)
    run = read_run(config.run, force=config.force, key="run")
    dataset = Prepared.open(config.data.path)
    keys = resolved(config)
    made = {
        "version": VERSION,
        "run": str(config.run),
        "model": model_identity(run),
        "dataset": {"path": dataset.path, "sha256": dataset.sha256},
        **{name: keys[name] for name in ("rows", "limit", "seed")},
    }
    with locked(folder, f"out={folder}"):
        done = _begun(folder, made, config.overwrite)
        describer = Describer.load(run)
        rows = _rows(config, run, dataset, describer)
        found = measured(describer, rows, folder / LOSSES, done, config.batch, moves=True)
        ranked = doubts(found)
        listed = [one for one in ranked if one.deviations >= config.least]
        counts = {"audited": len(found), "least": config.least, "listed": len(listed)}
        record = {**made, **summary(found), **counts}
        write_atomically(folder / LIST, "".join(map(_line, listed)))
        shown = listed[: config.shown]
        write_page_of(folder / PAGE, shown, rows, run.data, record)
        write_atomically(folder / RECORD, json.dumps(record, indent=1) + "\n")
    return record


def _begun(folder: Path, made: Mapping[str, Any], overwrite: bool) -> list[Worth]:
    """The rows that an earlier run with the same keys has measured.

    Raises:
        UserError: the folder holds another audit.
    """
    path = folder / RECORD
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    if before is not None and not overwrite:
        if names := differing(before, made):
            raise made_otherwise(f"out={folder}", "an audit", names)
        done = read_rows(folder / LOSSES)
        write_atomically(folder / LOSSES, "".join(json.dumps(row) + "\n" for row in done))
        return [Worth(**row) for row in done]  # without a last line that was cut off
    write_atomically(path, json.dumps(made, indent=1) + "\n")
    (folder / LOSSES).unlink(missing_ok=True)
    return []


def _rows(config: AuditConfig, run: SavedRun, dataset: Prepared, describer: Describer) -> Dataset:
    """The rows in a random order. Those that do not fit into a prompt or tell nothing are left out, and counted."""
    rows = dataset.rows()
    if config.rows == "held_out":
        held = kept_out(run, dataset, rows)
        if not held:
            raise UserError("rows=held_out: the run held nothing out of this dataset; leave it out")
        rows = rows.select([i for i, name in enumerate(rows["sample_id"]) if name in held])
    usable = survey(rows, describer.processor, run.data, "audit").usable
    if len(usable) < len(rows):
        say(f"{len(rows) - len(usable)} of {len(rows)} rows are too long, or tell nothing")
    order = np.random.default_rng(config.seed).permutation(len(usable))[: config.limit]
    return rows.select([usable[i] for i in order])


def summary(found: list[Worth]) -> dict[str, Any]:
    """Mean losses, what frames are worth, with a 95 % interval over rows, and how many rows' times fit their pictures."""
    worth = mean("worth", np.array([one.worth for one in found]))
    low, high = interval(bootstrap([worth])[:, 0])
    return {
        **{
            name: float(np.mean([asdict(one)[name] for one in found]))
            for name in ("own", "blank", "other")
        },
        "worth": worth.value,
        "worth_low": low,
        "worth_high": high,
        "times_fit": share_that_fits(found),
    }


def _line(one: Doubt) -> str:
    row = {"id": one.worth.id, "deviations": round(one.deviations, 3), "reason": one.reason}
    return json.dumps({**row, **asdict(one.worth)}, ensure_ascii=False) + "\n"


def report(record: Mapping[str, Any]) -> str:
    """What was found, for people."""
    timed = ""
    if record["times_fit"] is not None:
        timed = f"the times of {record['times_fit']:.0%} fit the changes of their pictures (by chance 50 %)\n"
    return (
        f"{record['audited']:,} rows: their frames are worth {record['worth']:.3f} nats a token "
        f"[{record['worth_low']:.3f}, {record['worth_high']:.3f}] (answer loss {record['own']:.3f}, with blank frames "
        f"{record['blank']:.3f}, with another video's {record['other']:.3f})\n{timed}"
        f"{record['listed']:,} rows are doubtful"
    )
