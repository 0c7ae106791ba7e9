"""Scores of predictions against references: every measure, with the contribution of each video."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from multiprocessing import get_context
from typing import Any

import numpy as np
from tqdm import tqdm

from data.sample import Event, Stated
from data.sources import microworld
from train.evaluation.intervals import Measure, mean
from train.evaluation.records import Prediction, Reference, scored_events
from train.metrics import densevid, grounding, text
from train.metrics.config import TextScore
from train.metrics.degeneration import FLAGS, alike, flags, repeated, spoken
from train.metrics.meteor import Meteor, meteor_running
from train.metrics.scenes import scene_f1
from train.metrics.shown import better
from train.metrics.soda import NOTHING, soda, soda_m
from train.metrics.tokens import MOST_WORDS, Words, ascii_only, words

SAYS_NOTHING = Prediction("")
MANY = 1000
"""From this number of videos on, scoring runs in several processes."""
BLOCK = 200
LISTED = ("tokens", "matched", "flags")
"""Keys of `Figures` whose values are not numbers."""
Figures = dict[str, Any]
"""One video's numbers by measure (NaN: undefined for this video), and what the report shows of it."""


@dataclass(frozen=True)
class Scored:
    """One system's scores."""

    ids: tuple[str, ...]
    measures: tuple[Measure, ...]
    matched: tuple[tuple[tuple[int, int], ...], ...]
    """For each video: SODA c's matched pairs (reference, prediction), as indices of events sorted by time."""
    flags: tuple[tuple[str, ...], ...]
    coverage: float
    """Share of the videos that have a prediction."""

    def __getitem__(self, name: str) -> Measure:
        return next(m for m in self.measures if m.name == name)


@contextmanager
def pair_score(name: TextScore, references: Mapping[str, Reference]) -> Iterator[text.PairScore]:
    """SODA's text score by name.

    Raises:
        UserError: `meteor` is asked for and its extra is not installed.
    """
    if name == "meteor":
        with meteor_running() as score:
            yield score
    elif name == "cider_d":
        yield text.cider_d_pairs([e.text for t in references.values() for e in t.events])
    else:
        yield text.meteor_lite_pairs if name == "meteor_lite" else text.rouge_l_pairs


def score(
    references: Mapping[str, Reference],
    answers: Mapping[str, Prediction],
    *,
    text_score: TextScore = "meteor_lite",
    compat: bool = False,
    timed: bool = True,
) -> Scored:
    """All measures over the videos of `references`.

    A video without an answer scores 0, as an empty prediction; with `compat` it does not count in SODA,
    as in the published program. ActivityNet's scores (`tiou>`, `densevid_`) always use the events as the
    files state them, even for a video of `references` without a usable reference event.

    Args:
        timed: times were asked for; otherwise only text and degeneration are scored.
    """
    ids = tuple(references)
    timed = timed and any(t.events for t in references.values())
    rows = [(references[name], answers.get(name)) for name in ids]
    with pair_score(text_score, references) as by_pair:
        one = partial(_figures, by_pair=by_pair, compat=compat, timed=timed)
        shareable = text_score in ("meteor_lite", "rouge_l")
        columns = _columns(one, rows, shareable and len(ids) >= MANY)
    tokens, matched, degenerate = (columns.pop(name) for name in LISTED)
    same = alike([(answer or SAYS_NOTHING).words_only for _, answer in rows])
    marked = [
        (*marks, *(["same as others"] if like else []))
        for marks, like in zip(degenerate, same, strict=True)
    ]
    measures = [_measure(name, values) for name, values in columns.items()]
    bleu = columns["bleu_4"]
    measures += [Measure(f"bleu_{n}", bleu, partial(text.bleu, order=n)) for n in (1, 2, 3)]
    cider = text.CiderD([[tuple(true.split())] for _, true in tokens])
    both = ((tuple(said.split()), tuple(true.split())) for said, true in tokens)
    measures.append(mean("cider_d", np.array([cider(said, [true]) for said, true in both])))
    measures += [_measure("degenerate", np.array([bool(m) for m in marked]))]
    for flag in FLAGS:
        rate = np.array([flag in m for m in marked])
        measures.append(_measure(f"share_{flag.replace(' ', '_')}", rate))
    coverage = sum(answer is not None for _, answer in rows) / max(1, len(ids))
    return Scored(ids, tuple(measures), tuple(matched), tuple(marked), coverage)


def _measure(name: str, values: np.ndarray) -> Measure:
    """`values`: (N,) one per video, or (N, K) sums for a ratio metric."""
    if name == "bleu_4":
        return Measure(name, values, text.bleu)
    if values.ndim == 2:
        return Measure(name, values, better=better(name))
    return mean(name, values, better(name))


def _columns(one: Any, rows: Sequence[Any], shared: bool) -> dict[str, Any]:
    """The figures of all rows by name, as arrays (N,) or (N, K): a dict per video would take ten times
    the memory. Those in `LISTED` stay lists."""
    blocks = [rows[i : i + BLOCK] for i in range(0, len(rows), BLOCK)]
    work = partial(_block, one)
    bar = partial(tqdm, desc="score", unit="block", total=len(blocks), disable=len(rows) < MANY)
    if shared:
        with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
            done = list(bar(pool.map(work, blocks)))
    else:
        done = list(bar(map(work, blocks)))
    return {
        name: list(chain.from_iterable(block[name] for block in done))
        if name in LISTED
        else np.concatenate([block[name] for block in done])
        for name in done[0]
    }


def _block(one: Any, rows: Sequence[Any]) -> dict[str, Any]:
    found = [one(row) for row in rows]
    return {
        name: [f[name] for f in found]
        if name in LISTED
        else np.array([f[name] for f in found], dtype=float)
        for name in found[0]
    }


# --- one video -------------------------------------------------------------------------------


def _figures(
    row: tuple[Reference, Prediction | None],
    *,
    by_pair: text.PairScore,
    compat: bool,
    timed: bool,
) -> Figures:
    reference, answer = row
    prediction = answer or SAYS_NOTHING
    figures: Figures = {"matched": ()}
    if timed:
        figures |= _soda(reference, answer, by_pair, compat)
        figures |= _grounding(reference, prediction)
        meteor = by_pair if isinstance(by_pair, Meteor) else None
        figures |= _densevid(reference, prediction, meteor, compat)
    if timed and reference.events and all(microworld.facts(e.text) for e in reference.events):
        matched, said, true = scene_f1(prediction.events, reference.events)
        figures["scene_f1"] = (2 * matched, said + true)
    return figures | _text(reference, prediction, timed)


def _soda(
    reference: Reference, answer: Prediction | None, by_pair: text.PairScore, compat: bool
) -> Figures:
    names = [
        f"soda_{v}{part}"
        for v in ("c", "d", "a", "b", "m")
        for part in ("_precision", "_recall", "")
    ]
    true = _published(scored_events(reference, compat), compat)
    if not true or (answer is None and compat):
        return dict.fromkeys(names, np.nan)
    prediction = answer or SAYS_NOTHING
    said = _published(scored_events(prediction, compat), compat)
    found = soda(said, true, by_pair, compat=compat) if said else NOTHING
    merged = (
        soda_m(prediction.events, reference.events, by_pair) if reference.events else (np.nan,) * 3
    )
    values = (*found.c, *found.d, *found.a, *found.b, *merged)
    return {**dict(zip(names, values, strict=True)), "matched": found.pairs}


def _grounding(reference: Reference, prediction: Prediction) -> Figures:
    overlaps = grounding.tious(reference.events, prediction.events)  # (R, P)
    # ActivityNet's localisation scores use the events as the files state them
    published = grounding.tious(
        reference.as_stated, prediction.as_stated, grounding.PUBLISHED
    )  # (R', P')
    figures: Figures = {}
    for strict, sign, pairs in ((True, ">", published), (False, ">=", overlaps)):
        for threshold in grounding.THRESHOLDS:
            recall, precision = grounding.matched(pairs, threshold, strict=strict)
            at = f"tiou{sign}{threshold:g}"
            figures[f"recall_{at}"], figures[f"precision_{at}"] = recall, precision
            figures[f"f1_{at}"] = grounding.f1(recall, precision)
        every = [figures[f"f1_tiou{sign}{t:g}"] for t in grounding.THRESHOLDS]
        figures[f"f1_tiou{sign}mean"] = float(np.mean(every))
    figures["f1_one_to_one_tiou>=0.5"] = grounding.tiou_f1(prediction.events, reference.events)
    figures["boundary_error_s"] = (
        grounding.boundary_error_s(overlaps, reference.events, prediction.events)
        if overlaps.size
        else np.nan
    )
    valid = grounding.validity(prediction.events, prediction.unusable, reference.duration_s)
    figures |= {
        "times_parsable": valid.parsable,
        "times_inside": valid.inside,
        "times_ordered": valid.ordered,
        "time_covered": grounding.covered(prediction.events, reference.duration_s),
    }
    if reference.events:
        return figures
    lost = (
        [n for n in figures if "tiou>" not in n or ">=" in n] if reference.stated else list(figures)
    )
    return figures | dict.fromkeys(lost, np.nan)


def _published(events: Sequence[Stated], compat: bool) -> list[Stated]:
    """The events; with `compat`, without the characters that the published programs drop."""
    if not compat:
        return list(events)
    return [Stated(e.start_s, e.end_s, ascii_only(e.text)) for e in events]


def _densevid(
    reference: Reference, prediction: Prediction, meteor: Meteor | None, compat: bool
) -> Figures:
    shape = (len(grounding.THRESHOLDS), len(densevid.NAMES))
    dense = np.full(shape, np.nan)
    of_set = meteor.together if meteor is not None else text.meteor_lite_of_set
    said, true = (_published(of.as_stated, compat) for of in (prediction, reference))
    if true:
        dense = densevid.densevid(said[: densevid.MOST], true, of_set)  # (4 thresholds, 7 scores)
    figures: Figures = {}
    for name, values in zip(densevid.NAMES, dense.T, strict=True):
        shown = "meteor_lite" if name == "meteor" and meteor is None else name
        for threshold, value in zip(grounding.THRESHOLDS, values, strict=True):
            figures[f"densevid_{shown}_{threshold:g}"] = float(value)
        figures[f"densevid_{shown}"] = float(values.mean())
    return figures


def _text(reference: Reference, prediction: Prediction, timed: bool) -> Figures:
    """Text scores of the whole prediction against the whole reference, repetition, length and flags."""
    said = _words(prediction.events, prediction.text)
    true = _words(reference.events if timed else (), reference.text(timed))
    heard, expected = spoken(prediction.words_only), spoken(reference.text(timed))
    return {
        "tokens": (" ".join(said), " ".join(true)),
        "bleu_4": text.bleu_counts(said, [true]),
        "rouge_l": text.rouge_l(said, [true]),
        "meteor_lite": text.meteor_lite(said, true),
        **{f"rep_{n}": repeated(heard, n) for n in (1, 2, 3, 4)},
        "words": len(heard),
        "length_ratio": (len(heard), len(expected)),
        "flags": flags(
            prediction.text, num_events=len(prediction.events), timed=timed, cut=prediction.cut
        ),
    }


def _words(events: Sequence[Event], otherwise: str) -> Words:
    """Tokens of all events' texts (cached since SODA); of the text `otherwise` if there are no events."""
    if not events:
        return words(otherwise)
    return tuple(chain.from_iterable(words(e.text) for e in events))[:MOST_WORDS]
