"""How good is an answer? A reward from 0 to 1: the weighted mean of named parts.

    soda_c      SODA c, the F1 of events matched in order by overlap × likeness of texts
    tiou_f1     2 · Σ tIoU of the best one-to-one matching ÷ (events said + events there are); texts do not count
    text        METEOR-lite of the whole text; only where times are not asked for
    format      share of lines with usable times × share of events inside the video × share in order
    coverage    time that the answer and the reference both tell of ÷ time that either tells of
    repetition  1 − rep-4, the share of four words in a row that occurred before
    judge       F1 of events: reference events entailed by the answer, answer's events entailed by the reference

An answer that is a loop, empty, or recites its prompt gets 0: it must never win.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from scipy.optimize import linear_sum_assignment

from data.sample import Event
from data.target import Style
from data.window import as_seen
from train.console import say
from train.evaluation.judging import Judge, cases, estimate
from train.evaluation.records import Prediction, Reference, reference_of
from train.metrics import grounding
from train.metrics.config import JudgeKeys
from train.metrics.degeneration import flags, repeated, spoken
from train.metrics.judge import judge
from train.metrics.soda import soda
from train.metrics.text import PairScore, meteor_lite
from train.metrics.tokens import words
from train.preference.config import RewardKeys
from train.sections import DataKeys

WORTHLESS = ("empty", "loop", "echo")
"""Flags of an answer that gets no reward, whatever its parts are."""
OF_TIMES = ("soda_c", "tiou_f1", "format", "coverage")
"""Parts that need times."""


@dataclass(frozen=True)
class Reward:
    """The reward of one answer, with the parts that it is made of."""

    value: float
    parts: Mapping[str, float]
    """Those that are defined for it."""
    flags: tuple[str, ...] = ()
    """What is wrong with the answer (`train.metrics.degeneration`)."""


def reward(
    said: Prediction,
    true: Reference,
    keys: RewardKeys,
    score: PairScore,
    style: Style,
    judged: float | None = None,
) -> Reward:
    """The reward of an answer.

    Args:
        true: with events, or with a description where `style` is `paragraph`.
        score: the text score of SODA.
        style: the form that the answer was asked for in; a reference without events has no times.
        judged: the part of the judge; None: it was not asked, or its answer could not be read.
    """
    timed = style == "timeline" and bool(true.events)
    found = {"repetition": 1.0 - repeated(spoken(said.words_only), 4)}
    if timed:
        valid = grounding.validity(said.events, said.unusable, true.duration_s)
        found |= {
            "soda_c": soda(said.events, true.events, score).c[2],
            "tiou_f1": overlap_f1(said.events, true.events),
            "format": valid.parsable * valid.inside * valid.ordered,
            "coverage": shared_time(said.events, true.events),
        }
    else:
        found["text"] = meteor_lite(words(said.words_only), words(true.text(timed=False)))
    if judged is not None and not math.isnan(judged):
        found["judge"] = judged
    weights = keys.model_dump()
    total = sum(weights[name] for name in found)
    value = sum(weights[name] * part for name, part in found.items()) / total if total else 0.0
    wrong = flags(said.text, num_events=len(said.events), timed=timed, cut=said.cut)
    return Reward(0.0 if set(wrong) & set(WORTHLESS) else value, found, wrong)


def true_of(row: dict[str, Any], keys: DataKeys) -> Reference:
    """What is true of a row as a model sees it: of a window, what is told in it."""
    return reference_of([as_seen(row, keys.window_clock)])


def overlap_f1(said: Sequence[Event], true: Sequence[Event]) -> float:
    """F1 with the tIoU of each pair in the place of hits, for the best one-to-one matching."""
    if not said or not true:
        return float(not said and not true)
    overlaps = grounding.tious(true, said)  # (R, P)
    rows, columns = linear_sum_assignment(-overlaps)
    return 2 * float(overlaps[rows, columns].sum()) / (len(said) + len(true))


def shared_time(said: Sequence[Event], true: Sequence[Event]) -> float:
    """Time that both tell of ÷ time that either tells of; 1 if neither tells of any."""
    edges = sorted({t for e in (*said, *true) for t in (e.start_s, e.end_s)})
    both = either = 0.0
    for start_s, end_s in pairwise(edges):
        in_said, in_true = (
            any(e.start_s <= start_s and end_s <= e.end_s for e in events)
            for events in (said, true)
        )
        both += (end_s - start_s) * (in_said and in_true)
        either += (end_s - start_s) * (in_said or in_true)
    return both / either if either else 1.0


def judged_parts(
    keys: JudgeKeys, answers: Sequence[tuple[Prediction, Reference]], style: Style
) -> list[float]:
    """The judge's part for each answer; NaN: its answer could not be read.

    Raises:
        UserError: the judge cannot be reached, or would be asked too much.
    """
    asked = cases(
        {str(i): true for i, (_, true) in enumerate(answers)},
        {str(i): said for i, (said, _) in enumerate(answers)},
        style == "timeline",
    )
    one = Judge(keys)
    say(estimate(one, keys, [asked]))
    found, lost = judge(asked, one.ask)
    if lost:
        say(f"note: {lost} answers of the judge could not be read; they are left out")
    return [
        math.nan
        if math.isnan(a.recall) and math.isnan(a.precision)
        else grounding.f1(*(0.0 if math.isnan(v) else v for v in (a.recall, a.precision)))
        for a in found
    ]
