"""Answers to the same row that are compared, and the pairs that they become."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from data.sample import events_of
from data.target import timeline
from data.window import Window, as_seen, window_of
from train.evaluation.answers import GeneratedAnswer
from train.evaluation.records import parse_prediction
from train.evaluation.scoring import pair_score
from train.preference.config import Maker, SampleConfig
from train.preference.pairs import Pair
from train.preference.rewards import Reward, judged_parts, reward, true_of
from train.preference.worse import WORSE
from train.sections import DataKeys

Row = dict[str, Any]
SAMPLED: Maker = "sampled"


@dataclass(frozen=True)
class Rivals:
    """Answers to one row, of which the best and the worst become a pair."""

    id: str
    maker: Maker
    texts: tuple[str, ...]
    cut: tuple[bool, ...]
    """Whether generation stopped at the limit of new tokens."""


def drawn(maker: Maker, share: float, rows: Sequence[Row], seed: int) -> list[int]:
    """Places of the rows that get a pair of a kind: about a share of them, for the same seed the same ones."""
    return [i for i, row in enumerate(rows) if _rng(seed, maker, row["id"]).random() < share]


def _rng(seed: int, what: str, row_id: str) -> np.random.Generator:
    digest = hashlib.sha256(f"{what}/{row_id}".encode("utf-8", "replace")).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "big")])


def sampled(rows: Sequence[Row], said: Sequence[GeneratedAnswer], each: int) -> Iterator[Rivals]:
    """The sampled answers to each row, `each` of them."""
    for n, row in enumerate(rows):
        own = said[n * each : (n + 1) * each]
        cut = tuple(one.cut for one in own)
        yield Rivals(row["id"], SAMPLED, tuple(one.text for one in own), cut)


def worsened(
    maker: Maker, rows: Sequence[Row], keys: DataKeys, seed: int, left_out: Counter[str]
) -> Iterator[Rivals]:
    """The reference of each row, and that made worse.

    Args:
        left_out: reason → number of rows that cannot be made worse; counted here.
    """
    for row in rows:
        seen = as_seen(row, keys.window_clock)
        events = sorted(events_of(seen), key=lambda e: (e.start_s, e.end_s))
        if keys.target == "paragraph" or not events:
            left_out[f"{maker}: no timeline"] += 1
            continue
        window = window_of(row) if keys.window_clock == "video" else None
        shown = window or Window(0.0, seen["duration_s"])
        worse = WORSE[maker](events, shown, _rng(seed, f"{maker} how", row["id"]))
        if worse is None:
            left_out[f"{maker}: too few scenes"] += 1
            continue
        texts = (timeline(events, keys.clock), timeline(worse, keys.clock))
        yield Rivals(row["id"], maker, texts, (False, False))


def rewards_of(
    config: SampleConfig, rivals: Sequence[Rivals], rows: Sequence[Row], keys: DataKeys
) -> list[list[Reward]]:
    """The rewards of all answers to `rows`, as these are seen: of a window, what is told in it.

    Raises:
        UserError: the judge cannot be asked, or the text score needs an extra that is not installed.
    """
    true = {row["id"]: true_of(row, keys) for row in rows}
    every = [
        (parse_prediction(text, cut=cut), true[one.id])
        for one in rivals
        for text, cut in zip(one.texts, one.cut, strict=True)
    ]
    judged: Sequence[float | None] = [None] * len(every)
    if config.reward.judge:
        judged = judged_parts(config.judge, every, keys.target)
    with pair_score(config.soda_text, true) as score:
        found = iter(
            [
                reward(said, reference, config.reward, score, keys.target, part)
                for (said, reference), part in zip(
                    tqdm(every, desc="rewards", unit="answer", disable=len(every) < 1000),
                    judged,
                    strict=True,
                )
            ]
        )
    return [[next(found) for _ in one.texts] for one in rivals]


def paired(
    rivals: Sequence[Rivals],
    rewards: Sequence[Sequence[Reward]],
    margin: float,
    left_out: Counter[str],
) -> list[Pair]:
    """Best and worst of each row's answers, where their rewards differ by `margin` or more. Others are counted."""
    pairs = []
    for one, own in zip(rivals, rewards, strict=True):
        values = [reward.value for reward in own]
        best, worst = int(np.argmax(values)), int(np.argmin(values))
        if values[best] == values[worst]:
            left_out[f"{one.maker}: all answers equally good"] += 1
        elif values[best] - values[worst] < margin:
            left_out[f"{one.maker}: rewards differ by less than margin={margin:g}"] += 1
        else:
            pairs.append(
                Pair(
                    id=one.id,
                    maker=one.maker,
                    chosen=one.texts[best],
                    rejected=one.texts[worst],
                    chosen_reward=values[best],
                    rejected_reward=values[worst],
                    chosen_parts=own[best].parts,
                    rejected_parts=own[worst].parts,
                )
            )
    return pairs


def summary(
    rivals: Sequence[Rivals], rewards: Sequence[Sequence[Reward]], pairs: Sequence[Pair]
) -> Mapping[str, Any]:
    """What was made: pairs of each kind, rewards of the sampled answers, and what is wrong with answers."""
    values = [
        [reward.value for reward in own]
        for one, own in zip(rivals, rewards, strict=True)
        if one.maker == SAMPLED
    ]
    wrong = Counter(
        flag
        for one, own in zip(rivals, rewards, strict=True)
        for answer in own
        for flag in answer.flags
        if one.maker == SAMPLED
    )
    return {
        "pairs": dict(Counter(pair.maker for pair in pairs)),
        "flags": dict(wrong),
        "rewards": {
            "mean": float(np.mean([np.mean(v) for v in values])),
            "best": float(np.mean([max(v) for v in values])),
            "worst": float(np.mean([min(v) for v in values])),
        }
        if values
        else None,
    }
