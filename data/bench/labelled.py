"""Measures selection against labels: from shot scores alone, on synthetic videos, on real clips."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from data.bench.compare import ENTRIES, Score, by_group, compare, recall_of
from data.bench.shot_scores import boundary_probability, even_candidates
from data.bench.synthetic_videos import build
from data.errors import UserError
from data.selection import quality
from data.selection.choose import analyse
from data.selection.config import FrameKeys
from data.selection.measure.shots import Transition, transitions
from data.selection.policies.allocate import allocate

BUDGETS = (8, 16, 32, 64)
SUITE_BUDGETS = (8, 16, 32)
RATE = 25.0  # frames per second assumed for the label files, which hold frame numbers only


def measure_labels(folder: Path) -> dict[str, float]:
    """Recall of labelled shots by `allocate` alone, from published transition scores; prints a table.

    `allocate`'s constants were tuned on the even-numbered videos (ids sorted).
    """
    try:
        labels = json.loads((folder / "shot_test.json").read_text(encoding="utf-8"))
        scores = np.load(folder / "shot_test_scores.npz", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UserError(f"labels={folder}: {error}") from None
    figures: dict[str, float] = {}
    print(f"shot recall without video, {len(labels)} videos")
    print(
        f"{'frames':>6} {'even':>7} {'odd':>7} {'all':>7} {'uniform':>8} {'best':>7}  below uniform"
    )
    for budget in BUDGETS:
        rows = []  # per video: shots hit, hit by uniform, most that can be hit, all shots
        for name in sorted(labels):
            count, shots = labels[name]["num_frames"], np.asarray(labels[name]["shots"])
            times_s = np.arange(count) / RATE
            probability = boundary_probability(scores[name].reshape(-1), times_s)
            frames = even_candidates(probability, times_s, budget)
            chosen, _ = allocate(probability, times_s, frames, budget)
            even = np.floor((np.arange(budget) + 0.5) * count / budget)
            rows.append(
                (_hit(chosen, shots), _hit(even, shots), min(budget, len(shots)), len(shots))
            )
        table = np.asarray(rows)
        below = int((table[:, 0] < table[:, 1]).sum())
        parts = [
            table[half, 0].sum() / table[half, 3].sum()
            for half in (slice(0, None, 2), slice(1, None, 2), slice(None))
        ]
        uniform, best = (table[:, k].sum() / table[:, 3].sum() for k in (1, 2))
        print(
            f"{budget:6} {parts[0]:7.4f} {parts[1]:7.4f} {parts[2]:7.4f} {uniform:8.4f} {best:7.4f}  {below}"
        )
        figures[f"shot_recall_{budget}"] = parts[2]
        figures[f"shot_recall_{budget}_odd"] = parts[1]
        figures[f"below_uniform_{budget}"] = below
    return figures


def _hit(chosen: np.ndarray, shots: np.ndarray) -> int:
    """Number of shots (S, 2), given by first and last frame, that contain a chosen frame."""
    first, last = shots[:, :1], shots[:, 1:]
    return int(((chosen >= first) & (chosen <= last)).any(axis=1).sum())


def measure_clips(folder: Path) -> dict[str, float]:
    """Errors on hand-labelled real clips: shot boundaries missed or false, events without a chosen frame."""
    rows = [json.loads(line) for line in (folder / "clips.jsonl").read_text("utf-8").splitlines()]
    missed = false = gradual_missed = gradual_false = 0
    lost: dict[str, list[str]] = {"exact": [], "fast": [], "keyframes": []}
    for row in rows:
        path = str(folder / row["video"])
        signals = analyse(path, FrameKeys(), keep=False).signals
        step_s = float(np.median(np.diff(signals.times_s)))
        inside = [(a - step_s, b + step_s) for a, b in row["gradual_s"]]
        found = transitions(signals, FrameKeys().min_shot_s)
        labelled = [Transition(t, t, hard=True) for t in row["cuts_s"]]
        outside = [t for t in found if not any(a <= t.end_s <= b for a, b in inside)]
        matches = quality.match_cuts(outside, labelled, tolerance_s=1.5 * step_s)
        missed, false = missed + matches.missed, false + matches.false
        gradual_missed += sum(
            not any(a <= (t.start_s + t.end_s) / 2 <= b for t in found if not t.hard)
            for a, b in inside
        )
        gradual_false += sum(
            not t.hard and not any(a <= (t.start_s + t.end_s) / 2 <= b for a, b in inside)
            for t in found
        )
        events = [(a, b) for a, b, _ in row["events"] if b - a >= 1]
        for speed, budget in (("exact", 8), ("fast", 16), ("keyframes", 16)):
            keys = FrameKeys.model_validate({"max": budget, "speed": speed})
            chosen = analyse(path, keys, keep=False).selection.times_s
            lost[speed] += [
                f"{row['id']} {a:g}–{b:g} s"
                for a, b in events
                if not quality.events_hit(chosen, [(a, b)])
            ]
    print(
        f"\n{len(rows)} real clips: hard cuts missed {missed}, false {false}; gradual missed {gradual_missed}, "
        f"false {gradual_false}"
    )
    for speed, budget in (("exact", 8), ("fast", 16), ("keyframes", 16)):
        print(
            f"events of 1 s or more without a frame, {speed}, {budget} frames: {', '.join(lost[speed]) or 'none'}"
        )
    return {
        "real_cuts_missed": missed,
        "real_cuts_false": false,
        "real_gradual_missed": gradual_missed,
        "real_gradual_false": gradual_false,
        "real_events_lost_8": len(lost["exact"]),
        "real_events_lost_fast_16": len(lost["fast"]),
        "real_events_lost_keyframes_16": len(lost["keyframes"]),
    }


def measure_built(work: Path, clips: Path | None, per_half: int) -> dict[str, float]:
    """Shot detection and every policy on the report half of the synthetic videos; prints tables."""
    name = f"built-{'textures' if clips is None else 'real'}"
    print(f"\nbuilding videos in {work / name} …", flush=True)
    videos = [v for v in build(work / name, per_half=per_half, clips=clips) if v.half == "report"]
    scores, found = compare(videos, SUITE_BUDGETS)
    cuts = sum((f.cuts for f in found), quality.Matches(0, 0, 0))
    gradual = sum((f.gradual for f in found), quality.Matches(0, 0, 0))
    disturbed = [f for f in found if f.group in ("flash", "whip", "one-take", "static")]
    num_shots = sum(f.num_shots for f in disturbed)
    false_share = sum(f.cuts.false + f.gradual.false for f in disturbed) / num_shots
    figures = {
        "hard_cut_f1": cuts.f1,
        "gradual_f1": gradual.f1,
        "false_cuts_per_shot_flash_motion": false_share,
    }
    recall = _table(scores)
    for budget in SUITE_BUDGETS:
        figures[f"event_recall_{budget}"] = recall["scene"][budget]
        others = {n: r[budget] for n, r in recall.items() if not n.startswith("scene")}
        best = max(others, key=lambda n: others[n])
        figures[f"best_other_recall_{budget}"] = others[best]
    ours, uniform = (by_group([s for s in scores if s.name == n]) for n in ("scene", "uniform"))
    gains = {g: recall_of(ours[g]).micro - recall_of(uniform[g]).micro for g in ours}
    figures["worst_group_over_uniform"] = min(gains.values())
    figures["time_error_s"] = max(s.time_error_s for s in scores)
    print(f"\nshots: hard cuts F1 {cuts.f1:.3f} ({cuts}), gradual F1 {gradual.f1:.3f} ({gradual})")
    print(
        f"false transitions per shot (flash, whip, one-take, static): {false_share:.3f} "
        f"({num_shots} shots)"
    )
    print("event recall of scene minus uniform, by group: ", end="")
    print(", ".join(f"{group} {gain:+.3f}" for group, gain in gains.items()))
    return figures


def _table(scores: list[Score]) -> dict[str, dict[int, float]]:
    """Print the comparison; returns entry → budget → event recall."""
    head = [f"@{k}" for k in SUITE_BUDGETS]
    print(
        f"\n| policy | recall {' | '.join(head)} | all shown @16 | frames @16 | distance | redundancy | in transition | unclear |"
    )
    print("|---" * (8 + len(head) - 1) + "|")
    recall: dict[str, dict[int, float]] = {}
    for name in ENTRIES:
        own = [s for s in scores if s.name == name]
        at = {k: [s for s in own if s.budget == k] for k in SUITE_BUDGETS}
        recall[name] = {k: recall_of(at[k]).micro for k in SUITE_BUDGETS}
        middle = at[16]
        cells = [f"{recall[name][k]:.3f}" for k in SUITE_BUDGETS]
        cells += [
            f"{recall_of(middle).fully_covered:.2f}",
            f"{np.mean([s.frames for s in middle]):.1f}",
            f"{np.mean([s.mean_distance for s in middle]):.1f}",
            f"{np.mean([s.redundancy for s in middle]):.2f}",
            f"{np.mean([s.in_transition for s in middle]):.3f}",
            f"{np.mean([s.unclear for s in middle]):.3f}",
        ]
        print(f"| {name} | {' | '.join(cells)} |")
    print("| embedding, query, learned | not measured here: they need an encoder or a selector |")
    return recall
