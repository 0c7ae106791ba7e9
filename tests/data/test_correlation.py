"""The method this project began with, against its own definition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.selection.policies.pixels import correlator, normalised


def direct(a, b, *, circular, max_shift, frobenius):
    """The sum over the picture for every shift, as it is written down."""
    x, y = (normalised(p, frobenius=frobenius).astype(np.float64) for p in (a, b))
    side = len(x)
    reach = side - 1 if max_shift is None else min(max_shift, side - 1)
    best = -np.inf
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            if circular:
                total = (x * np.roll(y, (dy, dx), axis=(0, 1))).sum()
            else:
                total = sum(
                    x[i, j] * y[i - dy, j - dx]
                    for i in range(max(0, dy), min(side, side + dy))
                    for j in range(max(0, dx), min(side, side + dx))
                )
            best = max(best, total)
    return best / (1 if frobenius else side * side)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(2, 9),
    st.booleans(),
    st.booleans(),
    st.sampled_from([None, 0, 1, 3]),
)
def test_the_transform_equals_the_sum(seed, side, circular, frobenius, max_shift):
    rng = np.random.default_rng(seed)
    pictures = rng.integers(0, 256, (2, side, side)).astype(np.uint8)
    fast = correlator(pictures, frobenius=frobenius, max_shift=max_shift, circular=circular)
    slow = direct(
        pictures[1], pictures[0], circular=circular, max_shift=max_shift, frobenius=frobenius
    )
    assert fast(0, 1) == pytest.approx(slow, abs=1e-5)


def test_a_picture_is_itself_even_when_it_is_shifted():
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (64, 64)).astype(np.uint8)
    pictures = np.stack([picture, np.roll(picture, (5, -9), axis=(0, 1))])
    assert correlator(pictures)(0, 0) == pytest.approx(1.0, abs=1e-4)
    assert correlator(pictures, circular=True)(0, 1) == pytest.approx(1.0, abs=1e-4)
    assert correlator(pictures, circular=True, max_shift=4)(0, 1) < 0.5


def test_frobenius_calls_any_two_bright_pictures_alike():
    """The failure that was seen: without the mean taken away, brightness is similarity."""
    rng = np.random.default_rng(0)
    pictures = (180 + rng.integers(0, 60, (2, 64, 64))).astype(np.uint8)
    assert correlator(pictures, frobenius=True)(0, 1) > 0.95
    assert correlator(pictures)(0, 1) < 0.5


def test_blank_pictures_divide_nothing_by_zero():
    pictures = np.zeros((2, 16, 16), np.uint8)
    assert correlator(pictures)(0, 1) == 0.0
    assert correlator(pictures, frobenius=True)(0, 1) == 0.0
