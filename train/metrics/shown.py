"""The measures that are displayed, their captions, and which of them are better when lower.

`train.evaluation.scoring` computes about a hundred measures and writes all to `scores.json`. A measure
that is displayed anywhere else needs a line in `SHOWN`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class DisplayedMetric:
    """A measure in the printed table, at the top of the report and in the model card."""

    name: str
    caption: str
    short: str = ""
    """Caption on the report's cards of single videos, which can be sorted by it. Empty: not on them."""
    log: str = ""
    """Name in the logs of a training, after `eval_`. Empty: not logged."""
    curve: bool = False
    """Whether it is also drawn on a run's page."""


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
    DisplayedMetric(
        "judge_seen_precision", "judge with frames: events right", log="judge_seen_precision"
    ),
    DisplayedMetric("judge_seen_contradicted", "judge with frames: contradicted"),
    DisplayedMetric("judge_seen_reference", "judge with frames: reference"),
    DisplayedMetric("judge_soda_c", "SODA c by the judge", "judge", "judge"),
    DisplayedMetric("cider_d", "CIDEr-D of the whole text", "CIDEr-D", "cider_d", curve=True),
    DisplayedMetric("bleu_4", "BLEU-4"),
    DisplayedMetric("rouge_l", "ROUGE-L", "ROUGE-L", "rouge_l"),
    DisplayedMetric("meteor_lite", "METEOR-lite"),
    DisplayedMetric("frames_worth", "frames are worth, nats a token", "frames' worth"),
    DisplayedMetric("answer_loss", "answer loss, nats a token"),
    DisplayedMetric("answer_loss_blank", "answer loss with grey frames"),
    DisplayedMetric("answer_loss_other", "answer loss, another's frames"),
    DisplayedMetric("boundary_error_s", "boundaries off by, s"),
    DisplayedMetric("times_parsable", "lines with usable times", log="times_parsable"),
    DisplayedMetric("time_covered", "share of the video described"),
    DisplayedMetric("length_ratio", "words said ÷ reference"),
    DisplayedMetric("rep_4", "repeated 4-grams"),
    DisplayedMetric("degenerate", "degenerate answers", log="degenerate", curve=True),
)
CAPTIONS = {one.name: one.caption for one in SHOWN}
_LOWER = ("share_", "rep_", "boundary_error_s", "degenerate", "judge_contradicted", "judge_seen_contradicted", "answer_loss",)  # fmt: skip
"""Beginnings of the names of measures that are better when lower."""
_NEITHER = (
    "time_covered", "words", "length_ratio", "answer_loss_blank", "answer_loss_other", "judge_seen_reference",
)  # fmt: skip


def better(name: str) -> Literal["higher", "lower", ""]:
    """The direction in which a measure improves; empty if neither is better."""
    return "" if name in _NEITHER else "lower" if name.startswith(_LOWER) else "higher"
