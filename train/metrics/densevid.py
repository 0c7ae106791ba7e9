"""Caption scores at a temporal overlap, as defined by ActivityNet's dense captioning evaluation of 2018
(Krishna et al., ICCV 2017; densevid_eval).

Every prediction is paired with every reference event it overlaps by tIoU >= threshold. A prediction
without a partner is paired with a nonsense text (the evaluation of 2021 uses a random one: its figures
cannot be repeated). Each video is scored alone, CIDEr-D's idf included, and the scores are averaged over
videos: a video without predictions counts 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data.sample import Stated
from train.metrics.grounding import PUBLISHED, THRESHOLDS, tious
from train.metrics.text import CiderD, SetScore, bleu, bleu_counts, rouge_l
from train.metrics.tokens import NO_LANGUAGE, words

MOST = 1000
"""Maximum number of predictions of a video that are scored, as in that evaluation."""
NAMES = ("bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "cider_d", "meteor")


def densevid(
    predicted: Sequence[Stated], reference: Sequence[Stated], meteor: SetScore
) -> np.ndarray:
    """Scores of one video: (4 thresholds, 7 `NAMES`). CIDEr-D from 0 to 10, the others to 1."""
    scores = np.zeros((len(THRESHOLDS), len(NAMES)))
    if not predicted:
        return scores
    overlaps = tious(reference, predicted, PUBLISHED)  # (R, P)
    before: list[tuple[str, str]] = []
    for k, threshold in enumerate(THRESHOLDS):
        hits = overlaps >= threshold
        pairs = [
            (said.text, true)
            for j, said in enumerate(predicted)
            for true in [reference[i].text for i in np.flatnonzero(hits[:, j]).tolist()]
            or [NO_LANGUAGE]
        ]
        if pairs == before:  # the next threshold often changes nothing
            scores[k] = scores[k - 1]
            continue
        before = pairs
        tokens = [(words(said), [words(true)]) for said, true in pairs]
        counts = np.sum([bleu_counts(said, true) for said, true in tokens], axis=0)  # (10,)
        cider = CiderD([true for _, true in tokens])
        scores[k] = [
            *(float(bleu(counts, order)) for order in (1, 2, 3, 4)),
            float(np.mean([rouge_l(said, true) for said, true in tokens])),
            float(np.mean([cider(said, true) for said, true in tokens])),
            meteor(pairs),
        ]
    return scores
