"""Which measures people are shown, by what names, and of which less is better: said here only.

`train.evaluation.scoring` computes some hundred; all stand in `scores.json`. A measure that is to be
seen elsewhere gets a line in `SHOWN`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class DisplayedMetric:
    """A measure in the printed table, the report's head and the model card."""

    name: str
    caption: str
    short: str = ""
    """Of single videos: on their cards in the report, and what those can be sorted by. Empty: not there."""
    log: str = ""
    """In the logs of a training, behind `eval_`. Empty: not there."""
    curve: bool = False
    """Also drawn on a run's page."""


SHOWN = (
    DisplayedMetric("soda_c", "SODA c, F1", "SODA c", "soda_c", curve=True),
    DisplayedMetric("soda_m", "SodaM, F1 (scenes may be split)"),
    DisplayedMetric(
        "f1_tiou>mean", "tIoU F1, mean of .3 .5 .7 .9", "tIoU F1", "f1_tiou", curve=True
    ),
    DisplayedMetric("recall_tiou>0.5", "events found (tIoU > .5)"),
    DisplayedMetric("precision_tiou>0.5", "events right (tIoU > .5)"),
    DisplayedMetric("scene_f1", "scene F1 (colour, shape, background)", "scene F1", "scene_f1"),
    DisplayedMetric("judge_recall", "judge: events told", log="judge_recall"),
    DisplayedMetric("judge_precision", "judge: events right", log="judge_precision"),
    DisplayedMetric("judge_contradicted", "judge: events contradicted"),
    DisplayedMetric("judge_soda_c", "SODA c by the judge", "judge", "judge"),
    DisplayedMetric("cider_d", "CIDEr-D of the whole text", "CIDEr-D", "cider_d", curve=True),
    DisplayedMetric("bleu_4", "BLEU-4"),
    DisplayedMetric("rouge_l", "ROUGE-L", "ROUGE-L", "rouge_l"),
    DisplayedMetric("meteor_lite", "METEOR-lite"),
    DisplayedMetric("boundary_error_s", "boundaries off by, s"),
    DisplayedMetric("times_parsable", "lines with usable times", log="times_parsable"),
    DisplayedMetric("time_covered", "video told about"),
    DisplayedMetric("length_ratio", "words said ÷ reference"),
    DisplayedMetric("rep_4", "repeated 4-grams"),
    DisplayedMetric("degenerate", "degenerate answers", log="degenerate", curve=True),
)
CAPTIONS = {one.name: one.caption for one in SHOWN}
_LOWER = ("share_", "rep_", "boundary_error_s", "degenerate", "judge_contradicted")
"""Beginnings of the names of measures of which less is better."""
_NEITHER = ("time_covered", "words", "length_ratio")


def better(name: str) -> Literal["higher", "lower", ""]:
    """Which way a measure improves; empty: neither."""
    return "lower" if name.startswith(_LOWER) else "" if name in _NEITHER else "higher"
