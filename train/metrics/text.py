"""Text scores: BLEU, ROUGE-L and CIDEr-D as the COCO caption evaluation defines them, and METEOR-lite, which
needs no Java. No downloads; the tokens are those of the PTB tokenizer."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache, reduce
from operator import or_

import numpy as np
from nltk.stem.porter import PorterStemmer
from nltk.translate.bleu_score import closest_ref_length
from nltk.translate.meteor_score import single_meteor_score

from train.metrics.matching import longest_common
from train.metrics.tokens import Words, ngrams, words

PairScore = Callable[[Sequence[tuple[str, str]]], np.ndarray]
"""(candidate, reference) pairs → a score of each, 0 to 1."""
SetScore = Callable[[Sequence[tuple[str, str]]], float]
"""(candidate, reference) pairs → one score of all of them together."""


@lru_cache(maxsize=1 << 12)
def up_to_four(tokens: Words) -> tuple[Counter[Words], ...]:
    """Counts of 1- to 4-grams; cached, because a sentence is compared with many."""
    return tuple(ngrams(tokens, n) for n in (1, 2, 3, 4))


# --- BLEU ------------------------------------------------------------------------------------


def bleu_counts(candidate: Words, references: Sequence[Words]) -> np.ndarray:
    """The counts that BLEU sums over a corpus, (10,): clipped matches of 1- to 4-grams, the candidate's 1- to
    4-grams, the candidate's length, the length of the closest reference."""
    matched, possible = [], []
    for n, said in enumerate(up_to_four(candidate)):
        true = reduce(or_, (up_to_four(r)[n] for r in references))  # largest count in any reference
        matched.append(sum(min(c, true[g]) for g, c in said.items() if g in true))
        possible.append(max(0, len(candidate) - n))
    length = closest_ref_length(references, len(candidate))
    return np.array([*matched, *possible, len(candidate), length], dtype=float)


def bleu(counts: np.ndarray, order: int = 4) -> np.ndarray:
    """BLEU (Papineni et al., ACL 2002) of summed `bleu_counts`, (..., 10) → (...).

    Zero counts are smoothed by the constants of the COCO evaluation, so that a score is defined for
    any text.
    """
    tiny, small = 1e-15, 1e-9
    matched, possible = counts[..., :order], counts[..., 4 : 4 + order]
    precision = (matched + tiny) / (possible + small)  # (..., order)
    ratio = (counts[..., 8] + tiny) / (counts[..., 9] + small)
    brevity = np.exp(np.minimum(0.0, 1 - 1 / ratio))
    return np.exp(np.log(precision).mean(axis=-1)) * brevity


# --- ROUGE-L ---------------------------------------------------------------------------------


def rouge_l(candidate: Words, references: Sequence[Words]) -> float:
    """ROUGE-L (Lin, 2004) with the COCO evaluation's beta = 1.2, from the best precision and the best recall
    over the references. 0 if a side is empty."""
    pairs = [(longest_common(candidate, r), len(r)) for r in references if r]
    if not candidate or not pairs:
        return 0.0
    precision = max(common / len(candidate) for common, _ in pairs)
    recall = max(common / length for common, length in pairs)
    if not precision or not recall:
        return 0.0
    beta2 = 1.2**2
    return (1 + beta2) * precision * recall / (recall + beta2 * precision)


# --- CIDEr-D ---------------------------------------------------------------------------------

SIGMA = 6.0


class CiderD:
    """CIDEr-D (Vedantam et al., CVPR 2015): clipped tf-idf cosine of 1- to 4-grams, with a Gaussian
    penalty on the difference in length; 0 to 10. The idf is computed from `documents`.

    Args:
        documents: the references of each item.
    """

    def __init__(self, documents: Sequence[Sequence[Words]]):
        # n-grams are stored as hashes. Those of only one document are not stored: they are as rare as
        # unseen ones, and a large set has millions of them
        seen = array("q")
        for references in documents:
            seen.extend({hash(g) for r in references for counts in up_to_four(r) for g in counts})
        grams, counts = np.unique(np.frombuffer(seen, dtype=np.int64), return_counts=True)
        often = counts > 1
        self._unseen = math.log(max(1, len(documents)))
        self._idf = dict(
            zip(grams[often].tolist(), (self._unseen - np.log(counts[often])).tolist(), strict=True)
        )
        self._vector = lru_cache(maxsize=1 << 12)(self._weighted)

    def _weighted(self, tokens: Words) -> tuple[list[dict[Words, float]], list[float], int]:
        vectors, norms = [], []
        idf, unseen = self._idf, self._unseen
        for counts in up_to_four(tokens):
            weights = {gram: count * idf.get(hash(gram), unseen) for gram, count in counts.items()}
            vectors.append(weights)
            norms.append(sum(w * w for w in weights.values()) ** 0.5)
        return vectors, norms, max(0, len(tokens) - 1)

    def __call__(self, candidate: Words, references: Sequence[Words]) -> float:
        """The mean score over `references`; 0 if there is nothing in common."""
        said, said_norms, said_length = self._vector(candidate)
        total = 0.0
        for reference in references:
            true, true_norms, true_length = self._vector(reference)
            penalty = math.exp(-((said_length - true_length) ** 2) / (2 * SIGMA**2))
            for a, b, norm_a, norm_b in zip(said, true, said_norms, true_norms, strict=True):
                if norm_a and norm_b:
                    dot = sum(min(w, b[g]) * b[g] for g, w in a.items() if g in b)
                    total += penalty * dot / (norm_a * norm_b)
        return 10 * total / 4 / max(1, len(references))


# --- METEOR without WordNet ------------------------------------------------------------------


class _NoSynonyms:
    """Takes the place of WordNet in NLTK's METEOR."""

    def synsets(self, word: str) -> list[object]:
        return []


_STEMMER = PorterStemmer()


@lru_cache(maxsize=1 << 16)
def _stem(word: str) -> str:
    return _STEMMER.stem(word)


class _CachedStemmer:
    def stem(self, word: str) -> str:
        return _stem(word)


@lru_cache(maxsize=1 << 16)
def meteor_lite(candidate: Words, reference: Words) -> float:
    """METEOR on exact words and stems, with METEOR 1.5's weights (alpha .85, beta .2, gamma .6) but without
    synonyms and paraphrases. It correlates with METEOR 1.5 (r = .90 on sentences) but is not the same.
    Equal texts score 1, as in METEOR 1.5."""
    if candidate == reference:
        return float(bool(candidate))
    if not candidate or not reference:
        return 0.0
    return float(
        single_meteor_score(
            reference,
            candidate,
            preprocess=str,
            stemmer=_CachedStemmer(),
            wordnet=_NoSynonyms(),
            alpha=0.85,
            beta=0.2,
            gamma=0.6,
        )
    )


# --- as scores of pairs ----------------------------------------------------------------------


def meteor_lite_pairs(pairs: Sequence[tuple[str, str]]) -> np.ndarray:
    return np.array([meteor_lite(words(a), words(b)) for a, b in pairs])


def meteor_lite_of_set(pairs: Sequence[tuple[str, str]]) -> float:
    return float(np.mean(meteor_lite_pairs(pairs)))


def rouge_l_pairs(pairs: Sequence[tuple[str, str]]) -> np.ndarray:
    return np.array([rouge_l(words(a), [words(b)]) for a, b in pairs])


def cider_d_pairs(references: Sequence[str]) -> PairScore:
    """A score of pairs: CIDEr-D ÷ 10, with the idf of all reference sentences of the set."""
    cider = CiderD([[words(r)] for r in references])
    return lambda pairs: np.array([cider(words(a), [words(b)]) / 10 for a, b in pairs])
