"""What a stored frame looks like, in 96 numbers: low frequencies of its brightness and colours.

Two of one picture differ little whatever the size, the quality, and up to a few percent of the edges. Perceptual hashes
of libraries were tried on frames of the micro-world re-encoded at a lower quality, half the size or 5 % cropped: the
discrete cosine hash of ImageHash changed 18 of 64 bits in the middle case (it weighs a faint frequency like a strong
one, and sees no colour), its difference hash 3; signs of random projections of these numbers change none.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from scipy.fft import dctn

SIZE = 32
"""Side of the picture that is transformed, in pixels."""
LUMA, CHROMA = 8, 4
"""Lowest frequencies kept, along each side."""
NUM_LOOKS = LUMA**2 + 2 * CHROMA**2
COLOUR = 2.0
"""Weight of colours beside brightness."""
MEAN = 0.5
"""Weight of the mean brightness: copies are often brighter or darker."""
SAME = 0.97
"""Cosine of two frames that show the same."""
BITS = 64
_ODD = np.r_[np.tile([1, -1], LUMA**2 // 2), np.tile([1, -1], CHROMA**2)].astype(np.float32)
_PLANES = np.random.default_rng(0).normal(size=(NUM_LOOKS, BITS)).astype(np.float32)


def reduced(jpeg: bytes) -> Image.Image:
    """A frame at the least size that is enough for its looks: the decoder skips frequencies that are not needed."""
    picture = Image.open(io.BytesIO(jpeg))
    picture.draft("RGB", (2 * SIZE, 2 * SIZE))
    return picture.convert("YCbCr")


def looks_of(picture: Image.Image) -> np.ndarray:
    """(96,) float32 of unit length; zeros for a picture of one colour, mid-grey. `picture`: as from `reduced`."""
    small = picture.resize((SIZE, SIZE), Image.Resampling.BOX)
    waves = dctn(np.asarray(small, np.float32) - 128, axes=(0, 1), norm="ortho")  # (S, S, 3)
    waves[0, 0, 0] *= MEAN
    found = np.concatenate(
        [
            waves[:LUMA, :LUMA, 0].ravel(),
            COLOUR * waves[:CHROMA, :CHROMA, 1].ravel(),
            COLOUR * waves[:CHROMA, :CHROMA, 2].ravel(),
        ]
    )
    return np.asarray(found / (np.linalg.norm(found) + 1e-6), np.float32)


def mirrored(looks: np.ndarray) -> np.ndarray:
    """(…, 96) → the same of the pictures mirrored left to right: of a cosine transform, every second number changes
    its sign."""
    return looks * _ODD


def hashes_of(looks: np.ndarray) -> np.ndarray:
    """(K, 96) → (K,) uint64: a bit for the side of each of 64 random planes (Charikar 2002). Two bits differ with a
    probability in proportion to the angle."""
    bits = looks.astype(np.float32) @ _PLANES > 0  # (K, 64)
    return np.packbits(bits, axis=1).view(np.uint64)[:, 0]
