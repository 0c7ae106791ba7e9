"""The systems that an evaluation compares, each a model with a frame policy, and their videos."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from datasets import Dataset

from data.config import resolved
from data.errors import UserError
from data.offline.config import PrepareConfig
from data.offline.prepare import prepare, sources_of
from data.prepared.dataset import Prepared
from data.selection.choose import policy_record
from data.selection.config import FrameKeys
from data.selection.known_policies import POLICY_VERSION
from data.sources.catalog import same_rows
from data.window import rows_of_samples
from train.batches.split import split
from train.console import say
from train.evaluation.config import EvaluateConfig
from train.evaluation.records import file_name
from train.inference.rows import frames_for
from train.run.held_out import read_held_out
from train.run.policy import policy_of_dataset, same_choice
from train.run.saved import SavedRun, base_of, read_run, run_of, trained_on, untrained
from train.sections import DataKeys, ModelKeys


@dataclass(frozen=True)
class PlannedSystem:
    """A model with a frame policy."""

    name: str
    run: SavedRun
    frames: FrameKeys


def plan_systems(config: EvaluateConfig, manifest: dict[str, Any]) -> list[PlannedSystem]:
    """The systems to evaluate. Base models come first: differences are taken from the first system.

    Raises:
        UserError: a run or a checkpoint does not exist, or frames.* does not fit it.
    """
    runs = [(Path(folder).name, read_run(folder, force=config.force)) for folder in config.adapter]
    several = len(runs) > 1
    named = [(name if several else "tuned", run) for name, run in runs]
    if config.base:
        before = {f"base of {name}" if several else "base": base_of(run) for name, run in runs}
        distinct = {run.base: (name, run) for name, run in before.items()}
        named = [*distinct.values(), *named]
    talk = DataKeys(target=config.data.target or "timeline")
    for name in config.model.name:
        model = ModelKeys(name=name, dtype=config.model.dtype)
        named.append((Path(name).name, untrained(model, policy_of_dataset(manifest, talk))))
    if config.data.target is not None:
        asked = {"target": config.data.target, "prompt": None}
        named = [
            (n, replace(r, policy=replace(r.policy, ask=r.data.model_copy(update=asked))))
            for n, r in named
        ]
    planned = []
    for name, run in named:
        shown = dict.fromkeys(frames_for(run, k).model_dump_json() for k in config.frame_sets)
        variants = [FrameKeys.model_validate_json(text) for text in shown]
        for frames, label in zip(variants, frames_names(variants), strict=True):
            planned.append(PlannedSystem(f"{name}, {label}" if label else name, run, frames))
    taken = [p.name for p in planned]
    if len({file_name(name) for name in taken}) < len(taken):
        raise UserError(f"two systems of one name among {', '.join(taken)}; rename a folder")
    return planned


def frames_names(variants: Sequence[FrameKeys]) -> list[str]:
    """A label per variant: the policy, and the keys that differ between variants of one policy. Empty
    for a single variant."""
    if len(variants) < 2:
        return [""]
    short = [frames_name(frames) for frames in variants]
    names = []
    for frames, name in zip(variants, short, strict=True):
        alike = [resolved(v) for v, other in zip(variants, short, strict=True) if other == name]
        own = [f" {k}={v}" for k, v in resolved(frames).items() if any(a[k] != v for a in alike)]
        names.append(name + "".join(own))
    return names


def frames_name(frames: FrameKeys) -> str:
    """A short label: policy, method, detector and threshold, the keys usually compared."""
    parts = [frames.policy, frames.method, frames.detector if frames.policy == "shots" else None]
    parts += [frames.boundaries] if "boundaries" in frames.changed() else []
    if frames.threshold is not None:
        parts.append(f"{frames.threshold:g}")
    return " ".join(p for p in parts if p)


def chosen_ids(
    config: EvaluateConfig, dataset: Prepared, rows: Dataset, unseen: frozenset[str] | None
) -> list[str]:
    """Ids of the samples to describe, in the dataset's order; the same on every call.

    Args:
        unseen: as from `unseen_by_all`.

    Raises:
        UserError: no video is left.
    """
    held_out = config.data.part == "held_out" or (config.data.part == "auto" and unseen is not None)
    ids = list(dict.fromkeys(rows["sample_id"]))
    every = len(ids)
    if held_out:
        kept = _held(rows, DataKeys()) if unseen is None else unseen
        ids = [name for name in ids if name in kept]
        if not ids:
            raise UserError(
                f"data.path={dataset.path}: the models were trained on all of it (data.eval_share=0), or no video "
                "is held out from every one of them; data.part=all evaluates on training videos too"
            )
    ids = ids[: config.data.limit]
    why = (
        "held out from training"
        if held_out
        else "all of the dataset"
        if len(ids) == every
        else "the first"
    )
    say(f"{len(ids)} videos of {dataset.path} ({why})")
    return ids


def unseen_by_all(
    dataset: Prepared, rows: Dataset, planned: Sequence[PlannedSystem]
) -> frozenset[str] | None:
    """Ids of samples of the dataset that no model was trained on; None if none was trained on the dataset."""
    kept = [kept_out(p.run, dataset, rows) for p in planned if p.run.is_trained]
    trained = [ids for ids in kept if ids is not None]
    return frozenset.intersection(*trained) if trained else None


def kept_out(run: SavedRun, dataset: Prepared, rows: Dataset) -> frozenset[str] | None:
    """Ids that a run held out of this dataset, or of one made of the same source rows with other frames;
    None if the run was trained on other data.

    Raises:
        UserError: the run's list of held-out ids is damaged.
    """
    told = trained_on(run)
    mine = {"sha256": dataset.sha256, "manifest_sha256": dataset.manifest_sha256}
    same = any(told.get(key) == value for key, value in mine.items())
    if not same and not same_rows(told.get("sources"), dataset.manifest["sources"]):
        return None
    listed = read_held_out(run_of(run.folder))
    if listed is not None:
        return frozenset(listed)
    shares = {key: told[key] for key in ("eval_share", "eval_max") if key in told}
    return _held(rows, DataKeys.model_validate(shares))


def _held(rows: Dataset, keys: DataKeys) -> frozenset[str]:
    return frozenset(split(rows, keys.eval_share, keys.eval_max).held_ids)


@dataclass(frozen=True)
class SystemFrames:
    """Videos with the frames of one policy."""

    path: str
    rows: Dataset
    seconds: dict[str, float]
    """Seconds spent on choosing frames, by id; empty if the dataset's own frames are used."""


def frames_for_system(
    frames: FrameKeys,
    ids: Sequence[str],
    config: EvaluateConfig,
    dataset: Prepared,
    rows: Dataset,
    timed: bool,
) -> SystemFrames:
    """The videos with the frames that `frames` chooses: `rows` itself if the dataset was prepared that way.
    Otherwise they are prepared again from the sources in the dataset's manifest, into the evaluation's
    folder. `timed`: prepare again in any case, to measure the time.

    Raises:
        UserError: the videos are no longer where the manifest says.
    """
    assert config.out is not None
    manifest, wanted = dataset.manifest, set(ids)
    own = policy_of_dataset(manifest, DataKeys())
    if not timed and own.version == POLICY_VERSION and same_choice(own.frames, frames):
        path, seconds = dataset.path, {}
    else:
        record = json.dumps(
            policy_record(frames), sort_keys=True
        )  # policies that differ in px alone differ here
        short = hashlib.sha256(record.encode()).hexdigest()[:8]
        folder = (
            Path(config.out) / "frames" / file_name(f"{frames_name(frames)}-{frames.max}-{short}")
        )
        folder.parent.mkdir(parents=True, exist_ok=True)
        seconds = _seconds(folder.with_suffix(".jsonl"))
        with folder.with_suffix(".jsonl").open("a", encoding="utf-8") as lines:

            def note(name: str, took_s: float) -> None:
                seconds[name] = took_s
                lines.write(json.dumps({"id": name, "seconds": round(took_s, 3)}) + "\n")

            keys = PrepareConfig(
                sources=sources_of(manifest),
                frames=frames,
                out=str(folder),
                min_decoded=manifest["min_decoded"],
                min_s=manifest["min_s"],
                overwrite=config.overwrite,
            )
            prepare(keys, only=wanted, timed=note)
        path = str(folder)
        rows = Prepared.open(path).rows()
    places = rows_of_samples(rows["sample_id"])
    kept = [i for name in ids for i in places.get(name, ())]
    return SystemFrames(path, rows.select(kept), seconds)


def _seconds(file: Path) -> dict[str, float]:
    if not file.is_file():
        return {}
    seconds = {}
    for line in file.read_text(encoding="utf-8").split("\n"):
        try:
            row = json.loads(line)
        except ValueError:  # the end of the file, or a line cut in half by a kill
            continue
        seconds[row["id"]] = row["seconds"]
    return seconds
