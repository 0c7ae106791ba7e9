"""The published dense captioning figures, slow and plain: by recursion and loops, straight from two JSON files.

Fujita et al. (ECCV 2020) for SODA, Krishna et al. (ICCV 2017) for localisation and captions at an overlap.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

TIOUS = (0.3, 0.5, 0.7, 0.9)
WORDS = [
    "a",
    "the",
    "man",
    "woman",
    "dog",
    "plays",
    "runs",
    "guitar",
    "on",
    "in",
    "street",
    "with",
    "ball",
    "red",
    "then",
    "walks",
    "café",
    "跑",
    "jumps",
    "again",
]


def iou(a: list[float], b: list[float]) -> float:
    both = max(0, min(a[1], b[1]) - max(a[0], b[0]))
    return both / (min(max(a[1], b[1]) - min(a[0], b[0]), a[1] - a[0] + b[1] - b[0]) + 1e-8)


def rouge_l(said: str, true: str) -> float:
    a, b = ("".join(c if ord(c) < 128 else " " for c in t).lower().split() for t in (said, true))

    @cache
    def common(i: int, j: int) -> int:
        if i == 0 or j == 0:
            return 0
        return (
            common(i - 1, j - 1) + 1
            if a[i - 1] == b[j - 1]
            else max(common(i - 1, j), common(i, j - 1))
        )

    if not a or not b or not common(len(a), len(b)):
        return 0.0
    p, r = common(len(a), len(b)) / len(a), common(len(a), len(b)) / len(b)
    return 2.44 * p * r / (r + 1.44 * p)


def _table(worth: list[list[float]]) -> tuple[float, list[tuple[int, int]]]:
    """The best sum, and the pairs read from the table of moves."""

    @cache
    def best(i: int, j: int) -> float:
        return max(moves(i, j))

    def moves(i: int, j: int) -> list[float]:
        over_reference = best(i - 1, j) if i else -1.0
        over_prediction = best(i, j - 1) if j else -1.0
        before = best(i - 1, j - 1) if i and j else 0.0
        if i and not j:
            return [over_reference, -1.0, worth[i][j]]
        return [over_reference, over_prediction, before + worth[i][j]]

    def pairs(i: int, j: int) -> list[tuple[int, int]]:
        here = [k for k in range(j + 1) if moves(i, k).index(max(moves(i, k))) == 2]
        if not here:
            return pairs(i - 1, j) if i else []
        if i == 0 or here[-1] == 0:
            return [(i, here[-1])]
        return [*pairs(i - 1, here[-1] - 1), (i, here[-1])]

    sys.setrecursionlimit(20_000)
    last = len(worth) - 1, len(worth[0]) - 1
    return best(*last), pairs(*last)


def _f1(p: float, r: float) -> float:
    return 2 * p * r / (p + r) if p + r else 0.0


def soda(
    references: dict[str, Any], predictions: dict[str, Any], score: Callable[[str, str], float]
) -> dict[str, tuple[float, float, float]]:
    """Variant → precision, recall, F1, each the mean over videos that were predicted."""
    every: dict[str, list[tuple[float, float, float]]] = {v: [] for v in "abcd"}
    for name, row in references.items():
        if name not in predictions:
            continue
        true = sorted(zip(row["timestamps"], row["sentences"], strict=True), key=lambda e: e[0][0])
        said = sorted(
            ((p["timestamp"], p["sentence"]) for p in predictions[name]), key=lambda e: e[0][0]
        )
        over = [[iou(s, t) for s, _ in said] for t, _ in true]
        alike = [[score(t, s) for _, s in said] for _, t in true]  # the two change places there
        both = [
            [o * a for o, a in zip(*rows, strict=True)] for rows in zip(over, alike, strict=True)
        ]
        along = [_table([[o if o >= k else 0.0 for o in row] for row in over])[1] for k in TIOUS]
        sums = {
            "a": sum(sum(alike[i][j] for i, j in pairs) for pairs in along) / 4,
            "b": sum(alike[i][j] for i, j in _table(over)[1]),
            "c": _table(both)[0],
            "d": _table(over)[0],
        }
        for variant, total in sums.items():
            p, r = total / len(said), total / len(true)
            every[variant].append((p, r, _f1(p, r)))
    return {
        v: tuple(sum(c) / len(rows) for c in zip(*rows, strict=True)) for v, rows in every.items()
    }  # type: ignore[misc]


def localisation(
    references: dict[str, Any], predictions: dict[str, Any], tiou: float
) -> tuple[float, float]:
    """Recall and precision, over all videos with references."""
    recall, precision = 0.0, 0.0
    for name, row in references.items():
        said = [p["timestamp"] for p in predictions.get(name, [])]
        hits = [
            (i, j)
            for i, t in enumerate(row["timestamps"])
            for j, s in enumerate(said)
            if iou(s, t) > tiou
        ]
        recall += len({i for i, _ in hits}) / len(row["timestamps"])
        precision += len({j for _, j in hits}) / max(1, len(said))
    return recall / len(references), precision / len(references)


def captions(
    references: dict[str, Any],
    predictions: dict[str, Any],
    tiou: float,
    score: Callable[[str, str], float],
) -> float:
    """A score at an overlap: per video the mean over its pairs, a prediction without one scoring 0."""
    total = 0.0
    for name, row in references.items():
        found = []
        for p in predictions.get(name, []):
            near = [
                t
                for s, t in zip(row["timestamps"], row["sentences"], strict=True)
                if iou(p["timestamp"], s) >= tiou
            ]
            found += [score(p["sentence"], t) for t in near] or [0.0]
        total += sum(found) / len(found) if found else 0.0
    return total / len(references)


def pair_of_files(seed: int, videos: int = 30) -> tuple[dict[str, Any], dict[str, Any]]:
    """References and predictions as two people write them: equal starts, nested and crossing events, some of
    no length or past the end, in any order, 1 to 40 of them, of one word or more."""
    draw = random.Random(seed)
    references: dict[str, Any] = {}
    predictions: dict[str, Any] = {}
    for number in range(videos):
        duration = round(draw.uniform(5, 240), 2)
        sides = []
        for _ in range(2):
            starts = [
                0,
                round(draw.uniform(0, duration), 1),
                *(draw.randrange(int(duration)) for _ in range(3)),
            ]
            events = []
            for _ in range(draw.choice((1, 2, 3, 4, 4, 5, 7, 12, 40))):
                start = (
                    draw.choice(starts)
                    if draw.random() < 0.5
                    else round(draw.uniform(0, duration), 2)
                )
                end = start + draw.choice(
                    (0, 1, 5, duration / 4, duration / 2, duration)
                ) * draw.choice((1, 1, 0.5))
                words = draw.choices(WORDS, k=draw.choice((1, 1, 3, 6, 12)))
                events.append(([start, round(end, 2)], " ".join(words)))
            if sides:  # what both tell alike
                events += [e for e in sides[0] if draw.random() < 0.4]
                draw.shuffle(events)
            sides.append(events)
        name = f"v_{number}"
        true, said = sides
        references[name] = {
            "duration": duration,
            "timestamps": [t for t, _ in true],
            "sentences": [s for _, s in true],
        }
        if number % 10 != 9:  # some videos have no prediction
            predictions[name] = [{"sentence": s, "timestamp": t} for t, s in said]
    return references, predictions
