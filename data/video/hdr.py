"""Converts HDR pictures to SDR: transfer function, tone mapping and colours, by the standards.

Without this, HDR10 and HLG recordings of phones would be stored as flat grey.
"""

from __future__ import annotations

import numpy as np

CURVES = {16: "HDR (PQ)", 18: "HDR (HLG)"}
"""The HDR transfer functions that are supported, by their H.273 code (FFmpeg's `color_trc`)."""
WHITE = 100.0
"""Peak luminance of an SDR screen, cd/m² (ITU-R BT.2035)."""
BRIGHTEST = 0.999
"""Quantile of the pixels' luminance that counts as the picture's peak: sparks and noise do not set it."""
PQ_M1, PQ_M2, PQ_C1, PQ_C2, PQ_C3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
HLG_A, HLG_B, HLG_C = 0.17883277, 0.28466892, 0.55991073
HLG_PEAK, HLG_GAMMA = 1000.0, 1.2
"""Peak luminance (cd/m²) and system gamma of HLG's reference screen."""
TO_BT709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]
)
"""BT.2020 to BT.709 primaries (ITU-R BT.2087)."""


def to_sdr(rgb: np.ndarray, curve: int) -> np.ndarray:
    """(H, W, 3) uint16, full range, BT.2020 primaries, transfer function `curve` → (H, W, 3) uint8 sRGB.

    Luminance is decoded by SMPTE ST 2084, or by ARIB STD-B67 with BT.2100's system gamma. If the picture's
    peak is above `WHITE`, it is tone-mapped from that peak by BT.2390's EETF.
    """
    signal = rgb.astype(np.float32) / 65535
    light = _pq_light(signal) if curve == 16 else _hlg_light(signal)  # (H, W, 3) cd/m²
    brightest = light.max(axis=2, keepdims=True)  # (H, W, 1)
    peak = float(np.quantile(brightest, BRIGHTEST))
    if peak > WHITE:  # one factor for all three channels keeps the hue
        light = light * (_eetf(brightest, peak) / np.maximum(brightest, 1e-6))
    linear = np.clip(light / WHITE @ TO_BT709.T, 0, 1)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray((255 * srgb).round().astype(np.uint8))


def _pq_light(signal: np.ndarray) -> np.ndarray:
    power = np.power(signal, 1 / PQ_M2)
    return 10_000 * np.power(np.maximum(power - PQ_C1, 0) / (PQ_C2 - PQ_C3 * power), 1 / PQ_M1)


def _pq_signal(light: np.ndarray) -> np.ndarray:
    power = np.power(np.maximum(light, 0) / 10_000, PQ_M1)
    return np.power((PQ_C1 + PQ_C2 * power) / (1 + PQ_C3 * power), PQ_M2)


def _hlg_light(signal: np.ndarray) -> np.ndarray:
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - HLG_C) / HLG_A) + HLG_B) / 12)
    luminance = scene @ np.array([0.2627, 0.6780, 0.0593])
    return np.asarray(HLG_PEAK * scene * np.maximum(luminance, 1e-6)[..., None] ** (HLG_GAMMA - 1))


def _eetf(light: np.ndarray, peak: float) -> np.ndarray:
    """Tone-mapped luminance (ITU-R BT.2390, 5.4): below the knee unchanged, above it a spline in PQ that
    maps `peak` to `WHITE`."""
    top = _pq_signal(np.array(peak))
    e1 = np.minimum(_pq_signal(light) / top, 1)
    most = _pq_signal(np.array(WHITE)) / top
    knee = 1.5 * most - 0.5
    t = (e1 - knee) / max(1 - knee, 1e-6)
    t2, t3 = t * t, t * t * t
    spline = (
        (2 * t3 - 3 * t2 + 1) * knee + (t3 - 2 * t2 + t) * (1 - knee) + (3 * t2 - 2 * t3) * most
    )
    return np.asarray(_pq_light(np.where(e1 < knee, e1, spline) * top))
