"""What scripts/evaluate.py does: generate predictions, score them, write the results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from data.errors import UserError, warn
from data.prepared.dataset import Prepared
from data.storage import open_folder
from train.console import say
from train.evaluation.config import EvaluateConfig
from train.evaluation.records import (
    Problems,
    Reference,
    file_name,
    read_json_file,
    read_predictions,
    read_references,
    write_predictions,
    write_references,
)
from train.evaluation.report import table
from train.evaluation.report.page import write_report
from train.evaluation.results import AnswerLoss, Evaluation, System, Timing, measures_of
from train.evaluation.scoring import score

SCORES = "scores.json"


def evaluate(config: EvaluateConfig, *, shown: bool = True) -> Evaluation:
    """Run an evaluation and return the scored systems; results are also written to `out`.

    Args:
        shown: print the table.

    Raises:
        UserError: an input is missing, or `out` holds something other than an evaluation.
    """
    found = _compared if config.compare else _of_files if config.predictions else _of_models
    if config.out is None:
        return _finish(config, *found(config), shown=shown)
    out = open_folder(config.out)
    if not out.is_local:
        raise UserError(f"out={config.out}: not a local folder, which an evaluation needs")
    out.make()
    with out.locked():
        _claim(config)
        return _finish(config, *found(config), shown=shown)


def _claim(config: EvaluateConfig) -> None:
    """Refuse a folder that holds anything but an evaluation."""
    assert config.out is not None
    names = {p.name for p in Path(config.out).iterdir() if not p.name.startswith(".")}
    ours = any(n == SCORES or n == "answers" or n == "frames" for n in names)
    if names and not ours:
        raise UserError(f"out={config.out}: is not empty and no evaluation; choose another folder")


Found = tuple[dict[str, Reference], list[System], Problems, bool]


def _of_files(config: EvaluateConfig) -> Found:
    assert config.predictions is not None
    problems = Problems()
    if config.references is not None:
        references = read_references(config.references, problems, mend=not config.published_soda)
    else:
        from train.evaluation.by_sample import references_of

        assert config.data.path is not None
        references = references_of(Prepared.open(config.data.path).rows())
    given = read_predictions(config.predictions, references, problems)
    name = Path(config.predictions).stem
    about = {"predictions": config.predictions, "references": config.references}
    timed = any(t.events for t in references.values())
    return references, [System(name, given, about, prepared=config.data.path)], problems, timed


def _of_models(config: EvaluateConfig) -> Found:
    # imports torch, which scoring files does not need
    from train.evaluation.answers import answers
    from train.evaluation.by_sample import predictions_of, references_of, summed
    from train.evaluation.general import compared
    from train.evaluation.seen_before import name_copies
    from train.evaluation.systems import chosen_ids, frames_for_system, plan_systems, unseen_by_all
    from train.evaluation.worth import answer_losses

    assert config.data.path is not None and config.out is not None
    dataset = Prepared.open(config.data.path)
    planned = plan_systems(config, dataset.manifest)
    rows = dataset.rows()
    if not len(rows):
        raise UserError(f"data.path={config.data.path}: contains no video")
    unseen = unseen_by_all(dataset, rows, planned)
    ids = chosen_ids(config, dataset, rows, unseen)
    wanted = set(ids)
    places = [i for i, name in enumerate(rows["sample_id"]) if name in wanted]
    references = references_of(rows.select(places))
    folder = Path(config.out) / "answers"
    folder.mkdir(exist_ok=True)
    problems = Problems()
    if unseen is not None:
        name_copies(config.copies, dataset, rows, unseen, wanted & unseen, problems)
    general = compared(planned, config.model.dtype) if config.general else {}
    systems = []
    policies = len({p.frames.model_dump_json() for p in planned})
    for one in planned:
        seen = frames_for_system(one.frames, ids, config, dataset, rows, timed=policies > 1)
        for name in sorted(wanted - set(seen.rows["sample_id"])):
            problems.note("videos whose frames cannot be had, scored as saying nothing", name)
        said = answers(
            one.run,
            seen.rows,
            config.generate,
            folder / f"{file_name(one.name)}.jsonl",
            dtype=config.model.dtype,
            overwrite=config.overwrite,
            compress=config.compress,
        )
        losses = {}
        if config.worth and not config.compress:
            losses = answer_losses(
                one.run,
                seen.rows,
                [s.given for s in said],
                folder / f"{file_name(one.name)}-losses.jsonl",
                dtype=config.model.dtype,
                batch=config.generate.batch,
                overwrite=config.overwrite,
            )
        texts = [s.text for s in said]
        frames = summed(seen.rows, [s.frames for s in said])
        seconds = summed(seen.rows, [s.seconds for s in said])
        systems.append(
            System(
                one.name,
                predictions_of(seen.rows, texts, [s.cut for s in said], one.run.data),
                {
                    "model": str(one.run.folder),
                    "frames": one.frames.model_dump(),
                    "data": config.data.path,
                    "part": config.data.part,
                },
                {
                    name: Timing(int(frames[name]), took_s, seen.seconds.get(name))
                    for name, took_s in seconds.items()
                },
                seen.path,
                losses,
                general.get(str(one.run.folder)),
            )
        )
    timed = any(one.run.data.target == "timeline" for one in planned)
    return references, systems, problems, timed


def _compared(config: EvaluateConfig) -> Found:
    """Systems of several evaluations, on the videos that all of them have."""
    problems = Problems()
    all_truths, systems, stored = [], [], []
    names = [Path(folder).name for folder in config.compare]
    short = len(set(names)) == len(names)
    for folder in config.compare:
        record = read_json_file(str(Path(folder) / SCORES), "compare", problems)
        if not isinstance(record, dict) or "systems" not in record:
            raise UserError(
                f"compare={folder}: its {SCORES} was not written by scripts/evaluate.py"
            )
        stored.append(record)
        file = str(Path(folder) / "references.json")
        references = read_references(file, problems, mend=not config.published_soda)
        all_truths.append(references)
        for name, one in record["systems"].items():
            quiet = Problems()  # that evaluation reported its missing videos
            given = read_predictions(str(Path(folder) / one["predictions"]), references, quiet)
            taken = {k: Timing(**v) for k, v in one["taken"].items()}
            label = f"{Path(folder).name if short else folder}: {name}"
            losses = {k: AnswerLoss(**v) for k, v in one.get("losses", {}).items()}
            systems.append(System(label, given, one["about"], taken, one["prepared"], losses))
    shared = [name for name in all_truths[0] if all(name in t for t in all_truths)]
    if not shared:
        raise UserError(
            f"compare={','.join(config.compare)}: these evaluations have no video in common"
        )
    for references in all_truths:
        for name in sorted(references.keys() - set(shared)):
            problems.note("videos that not all of them have, left out", name)
    differing = [
        n for n in shared if any(t[n].events != all_truths[0][n].events for t in all_truths)
    ]
    for name in differing:
        problems.note("references that differ; those of the first are used", name)
    systems = [
        replace(s, answers={n: s.answers[n] for n in shared if n in s.answers}) for s in systems
    ]
    return {n: all_truths[0][n] for n in shared}, systems, problems, any(r["timed"] for r in stored)


def _finish(
    config: EvaluateConfig,
    references: dict[str, Reference],
    systems: list[System],
    problems: Problems,
    timed: bool,
    *,
    shown: bool,
) -> Evaluation:
    if config.published_soda:
        for name, reference in references.items():
            if not all(e.text.isascii() for e in reference.as_stated):
                problems.note("references with letters that published_soda=true drops", name)
    scored = [
        score(
            references,
            s.answers,
            text_score=config.soda_text,
            compat=config.published_soda,
            timed=timed,
        )
        for s in systems
    ]
    scored = [
        replace(s, measures=(*s.measures, *measures_of(system.losses, s.ids)))
        for s, system in zip(scored, systems, strict=True)
    ]
    about_judge: dict[str, Any] = {}
    if config.judge.model is not None:
        from train.evaluation.judging import judged

        pictures = _pictures(config, references, systems) if config.judge.frames else {}
        more, about_judge = judged(
            config.judge, references, [s.answers for s in systems], timed, pictures=pictures
        )
        scored = [replace(s, measures=(*s.measures, *m)) for s, m in zip(scored, more, strict=True)]
    done = Evaluation(
        references,
        systems,
        scored,
        problems,
        config.soda_text,
        config.published_soda,
        timed,
        about_judge,
    )
    summary = table.summarise(done, config.generate.seed)
    for line in problems.lines():
        warn(line)
    if shown:
        say(table.shown(done, summary))
    if config.out is not None:
        out = Path(config.out)
        out.mkdir(parents=True, exist_ok=True)
        write_references(out / "references.json", references)
        files = prediction_files(systems)
        for s, name in zip(systems, files, strict=True):
            write_predictions(out / name, s.answers, s.about)
        table.write_csv(out / "videos.csv", done)
        if config.report:
            write_report(out / "report.html", done, summary)
        table.write_scores(out / SCORES, done, summary, files)
        if shown:
            page = f"; look at {out / 'report.html'}" if config.report else ""
            say(
                f"\nscores, predictions and a table with a row per video and system are in {out}{page}"
            )
    if config.json_ is not None:
        Path(config.json_).write_text(
            json.dumps(table.flat(done, summary), indent=1) + "\n", encoding="utf-8"
        )
    return done


def _pictures(
    config: EvaluateConfig, references: dict[str, Reference], systems: Sequence[System]
) -> dict[str, Any]:
    """Frames for the judge: those of the dataset, the same for all systems."""
    from train.evaluation.by_sample import pictures_of

    path = config.data.path or next((s.prepared for s in systems if s.prepared), None)
    if path is None:
        return {}
    return pictures_of(Prepared.open(path).rows(), references.keys(), config.judge.frames)


def prediction_files(systems: Sequence[System]) -> list[str]:
    """File names: `predictions.json` for the first tuned system, `predictions-<name>.json` for the others."""
    main = next((i for i, s in enumerate(systems) if not s.name.startswith("base")), 0)
    return [
        "predictions.json" if i == main else f"predictions-{file_name(s.name)}.json"
        for i, s in enumerate(systems)
    ]
