"""Does the audit find bad labels, and is training without them better? Labels of the micro-world, some of them swapped
between two videos or shifted in time."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from data.config import load
from data.curation.command import curate
from data.curation.config import CurateConfig
from data.offline.prepare import prepare
from data.prepared.dataset import Prepared
from train.audit.command import LIST, LOSSES, audit
from train.audit.config import AuditConfig
from train.audit.rank import doubts
from train.bench.bad_labels import bad_path, plant, write_grey
from train.bench.config_trained import BenchAuditConfig
from train.bench.seeds import (
    in_pool,
    note_lead,
    noted,
    one_core_each,
    quietly,
    shown_lead,
    told_by,
    train_from_base,
    warmed_base,
    with_interval,
)
from train.console import say
from train.demo.world import world_keys
from train.evaluation.by_sample import references_of
from train.evaluation.records import Prediction
from train.evaluation.scoring import score
from train.inference.worth import Worth
from train.run.files import read_rows

TOLD, HELD = 0, 2
"""Seeds of the micro-world, of the videos with some bad labels and of those that are described."""
SCORES = {"scene_f1": "scene F1", "f1_tiou>mean": "tIoU F1", "soda_c": "SODA c"}
ALL, CLEAN, KEPT = "all rows", "no bad label", "without the listed rows"


@dataclass(frozen=True)
class Found:
    """What the audit of one dataset by the model that was trained on it found."""

    auc: float
    """Probability that a bad row ranks before a good one."""
    of_model: float
    """The same by the signs of the model alone."""
    listed: int
    right: int
    """Listed rows that are bad."""
    bad: int
    worth: float


def compare_audit(config: BenchAuditConfig) -> dict[str, float]:
    """Prepare, plant, train, audit, train again, describe; returns flat figures. Results of an earlier call are
    reused."""
    work = Path(config.work)
    for name, seed, limit in (("clean", TOLD, config.videos), ("held", HELD, config.held_out)):
        keys = world_keys(
            work / "videos", work / name, limit=limit, frames=config.frames, seed=seed
        )
        prepare(keys)
    for share in config.shares:
        plant(work, share)
    write_grey(work)
    audits = [(config, share, seed) for seed in config.seeds for share in config.shares]
    runs = [(config, 0.0, seed, CLEAN) for seed in config.seeds]
    runs += [(*one, kind) for one in audits for kind in (ALL, KEPT)]
    with one_core_each(config.workers) as pool:
        warm = [(config.work, seed, config.prewarm_steps) for seed in config.seeds]
        in_pool(pool, "warm up", warmed_base, warm)
        found = in_pool(pool, "train and audit", train_and_audit, audits)
        said = in_pool(pool, "train and describe", train_and_describe, runs)
        blind = in_pool(
            pool, "train blind", worth_to_the_blind, [(config, s) for s in config.seeds]
        )
    of = {(share, seed): one for (_, share, seed), one in zip(audits, found, strict=True)}
    told = {run[1:]: one for run, one in zip(runs, said, strict=True)}
    figures = _found(config, of)
    figures |= _trained(config, told)
    lines = [
        "| | held-out frames are worth, nats a token, each seed |",
        "|---|---|",
    ]
    for seed, one in zip(config.seeds, blind, strict=True):
        names = ("worth", "worth_low", "worth_high")
        figures |= {f"blind/seed_{seed}/{name}": one[name] for name in names}
    cells = ["{worth:.3f} [{worth_low:.3f}, {worth_high:.3f}]".format(**one) for one in blind]
    lines.append(f"| trained on grey frames | {', '.join(cells)} |")
    say("\n".join(lines))
    return figures


def _found(config: BenchAuditConfig, of: dict[tuple[float, int], Found]) -> dict[str, float]:
    figures: dict[str, float] = {}
    lines = [
        "| bad labels | AUC of the list, each seed | by the model's signs alone | listed | of them bad | of all bad ones |",
        "|---|---|---|---|---|---|",
    ]
    for share in config.shares:
        every = [of[share, seed] for seed in config.seeds]
        for seed, one in zip(config.seeds, every, strict=True):
            figures[f"{share:g}/auc/seed_{seed}"] = one.auc
            figures[f"{share:g}/auc_of_model/seed_{seed}"] = one.of_model
            figures[f"{share:g}/worth/seed_{seed}"] = one.worth
        listed = sum(one.listed for one in every)
        right = sum(one.right for one in every)
        bad = sum(one.bad for one in every)
        figures |= {
            f"{share:g}/listed": listed,
            f"{share:g}/precision": right / max(1, listed),
            f"{share:g}/recall": right / max(1, bad),
        }
        aucs = ", ".join(f"{one.auc:.3f}" for one in every)
        of_model = ", ".join(f"{one.of_model:.3f}" for one in every)
        lines.append(
            f"| {share:.0%} | {aucs} | {of_model} | {listed} | {right / max(1, listed):.3f} | {right / max(1, bad):.3f} |"
        )
    say("\n".join(lines))
    return figures


def _trained(
    config: BenchAuditConfig, told: dict[tuple[float, int, str], dict[str, Prediction]]
) -> dict[str, float]:
    figures: dict[str, float] = {}
    references = references_of(Prepared.open(f"{config.work}/held").rows())
    lines = [
        "| bad labels | trained on | " + " | ".join(SCORES.values()) + " |",
        "|---|---|---|---|---|",
    ]
    settings = [(0.0, CLEAN), *((share, kind) for share in config.shares for kind in (ALL, KEPT))]
    draws: dict[tuple[float, str], np.ndarray] = {}
    for share, kind in settings:
        every = [score(references, told[share, seed, kind]) for seed in config.seeds]
        key = f"{share:g}/{kind}"
        draws[share, kind] = noted(figures, key, every, config.seeds, SCORES)
        cells = [with_interval(figures, f"{key}/{n}") for n in SCORES]
        lines.append(f"| {share:.0%} | {kind} | " + " | ".join(cells) + " |")
        if kind != KEPT:
            continue
        gained, both = f"{share:g}/gained", (draws[share, KEPT], draws[share, ALL])
        note_lead(figures, gained, key, f"{share:g}/{ALL}", both, SCORES)
        cells = [shown_lead(figures, f"{gained}/{n}") for n in SCORES]
        lines.append(f"| {share:.0%} | gained | " + " | ".join(cells) + " |")
    say("\n".join(lines))
    return figures


# --- one model --------------------------------------------------------------------------------


def _run(config: BenchAuditConfig, share: float, seed: int, kind: str) -> Path:
    return Path(config.work) / f"run-{share:g}-{seed}-{kind.replace(' ', '_')}"


def train_and_audit(config: BenchAuditConfig, share: float, seed: int) -> Found:
    """Train on all rows, audit them by that model, and write the dataset without the listed ones."""
    run, data = _run(config, share, seed, ALL), bad_path(Path(config.work), share)
    train_from_base(config.work, data, run, steps=config.steps, seed=seed)
    out, kept = run / "audit", run / "kept"
    with quietly(run / "audit.txt"):
        keys = [f"run={run}", f"data.path={data}", f"out={out}", "shown=0", "batch=16"]
        record = audit(load(AuditConfig, keys))
        listed = [row["id"] for row in read_rows(out / LIST)]
        marks = out / "marks.jsonl"
        marks.write_text("".join(json.dumps({"id": i, "mark": "drop"}) + "\n" for i in listed))
        keys = [f"data.path={data}", f"out={kept}", f"marks={marks}", "copies=keep", "workers=1"]
        curate(load(CurateConfig, [*keys, "overwrite=true"]))
    worths = [Worth(**row) for row in read_rows(out / LOSSES)]
    bad = set(json.loads((data / "bad.json").read_text()))

    def ranked(worths: list[Worth]) -> float:
        return auc([one.worth.id in bad for one in doubts(worths)])

    return Found(
        ranked(worths),
        ranked([replace(one, fit=None) for one in worths]),
        len(listed),
        len(bad & set(listed)),
        len(bad),
        record["worth"],
    )


def worth_to_the_blind(config: BenchAuditConfig, seed: int) -> dict[str, Any]:
    """What the held-out videos' frames are worth to a model that was trained on grey ones."""
    run = _run(config, 0.0, seed, "blind")
    train_from_base(config.work, f"{config.work}/grey", run, steps=config.steps, seed=seed)
    with quietly(run / "audit.txt"):
        keys = [f"run={run}", f"data.path={config.work}/held", f"out={run}/audit", "shown=0"]
        return audit(load(AuditConfig, keys))


def auc(bad: list[bool]) -> float:
    """Probability that a bad row stands before a good one, of rows in order."""
    ranks = np.flatnonzero(bad)
    before = np.cumsum(~np.asarray(bad))[ranks]  # good ones before each bad one
    return float(1 - before.sum() / max(1, len(ranks) * (len(bad) - len(ranks))))


def train_and_describe(
    config: BenchAuditConfig, share: float, seed: int, kind: str
) -> dict[str, Prediction]:
    """What a model trained on a dataset says of the held-out videos."""
    run = _run(config, share, seed, kind)
    data = {
        CLEAN: Path(config.work) / "clean",
        ALL: bad_path(Path(config.work), share),
        KEPT: _run(config, share, seed, ALL) / "kept",
    }[kind]
    train_from_base(config.work, data, run, steps=config.steps, seed=seed)
    return told_by(run, Prepared.open(f"{config.work}/held").rows())
