"""A selector: a small network that was trained (`scripts/train_selector.py`), in a folder or on the Hub.

selector.safetensors   the weights; no other file of weights is ever read
selector.json          what it was trained for, on what, and for which signals
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from data.errors import UserError, one_line
from data.hub import repo_folder
from data.selection.config import SELECTOR_FILES, FrameKeys
from data.selection.learned.boundaries import Weights
from data.selection.learned.features import SIGNALS_VERSION
from data.storage import atomic, write_atomically

WEIGHTS, RECORD = SELECTOR_FILES
PARTS = {"boundaries": "boundaries", "values": "rank", "events": "events"}
"""Part → an objective that trains it."""
SHIPPED = Path(__file__).with_name("shipped")
"""The selector that is used if none is named: for boundaries."""
MOST_BYTES = 8 * 2**20
"""More than a million weights: no selector of ours."""


@dataclass(frozen=True)
class Selector:
    """A trained selector."""

    name: str
    tensors: Mapping[str, np.ndarray] = field(repr=False)
    """The weights by their names in `SelectorNet`."""
    record: Mapping[str, Any]
    """What `selector.json` says."""
    sha256: str
    """Of the weights."""
    files: Mapping[str, bytes] = field(repr=False)
    """Name → content, to be stored elsewhere."""

    @property
    def boundaries(self) -> Weights:
        """The weights of `BoundaryNet`."""
        return part_of(self.tensors, "boundaries")

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that were trained: `boundaries` and others of `PARTS`."""
        return tuple(part for part in PARTS if part in self.record["parts"])

    def require(self, part: str) -> None:
        """
        Raises:
            UserError: this part was not trained.
        """
        if part not in self.parts:
            raise UserError(
                f"frames.selector={self.name}: was not trained for {part}, only for "
                f"{', '.join(self.parts)}; scripts/train_selector.py objective={PARTS[part]} "
                f"init={self.name} adds it"
            )


def selector_of(keys: FrameKeys) -> Selector:
    """The selector of a frame policy.

    Raises:
        UserError: as `read`, or it is not the one that the policy was made with.
    """
    found = read(keys.selector or str(SHIPPED))
    if keys.selector_sha256 not in (None, found.sha256):
        raise UserError(
            f"frames.selector={found.name}: is another one ({found.sha256[:12]}…) than that which chose the "
            f"frames before ({str(keys.selector_sha256)[:12]}…); give that one, or prepare and train again"
        )
    return found


@lru_cache(maxsize=4)
def read(name: str, key: str = "frames.selector") -> Selector:
    """The selector of a folder or Hub repository. `key`: the setting that names it.

    Raises:
        UserError: there is none, it is damaged, or it was trained on signals of another version.
    """
    folder = repo_folder(name, key, (WEIGHTS, RECORD))
    try:
        told = (folder / RECORD).read_bytes()
        record = json.loads(told)
        version, parts = record["signals"], dict(record["parts"])
        size = (folder / WEIGHTS).stat().st_size
        weights = (folder / WEIGHTS).read_bytes() if size <= MOST_BYTES else b""
    except FileNotFoundError as error:
        missing = Path(str(error.filename)).name
        raise UserError(
            f"{key}={name}: no {missing} in it; a selector is {WEIGHTS} and {RECORD}"
        ) from None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{key}={name}: {RECORD} is damaged ({one_line(error)})") from None
    if version != SIGNALS_VERSION:
        raise UserError(
            f"{key}={name}: trained on signals of version {version}, this is version "
            f"{SIGNALS_VERSION}; train it again"
        )
    try:
        tensors = load(weights)
        wrong = [part for part in parts if part not in PARTS or not part_of(tensors, part)]
    except SafetensorError as error:
        wrong, tensors = [one_line(error)[:120]], {}
    if wrong:
        raise UserError(f"{key}={name}: {WEIGHTS} holds no selector ({', '.join(wrong)})")
    for tensor_name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise UserError(f"{key}={name}: {tensor_name} is not finite; train it again")
    files = {WEIGHTS: weights, RECORD: told}
    return Selector(name, tensors, record, hashlib.sha256(weights).hexdigest(), files)


def part_of(tensors: Mapping[str, np.ndarray], part: str) -> dict[str, np.ndarray]:
    """The weights of one part by their names in it."""
    return {k.removeprefix(f"{part}."): v for k, v in tensors.items() if k.startswith(f"{part}.")}


def write(
    folder: Path,
    tensors: Mapping[str, np.ndarray],
    parts: Mapping[str, Any],
    lineage: Mapping[str, Any],
) -> None:
    """Write a selector.

    Args:
        tensors: the weights by their names in `SelectorNet`; those of other parts are left out.
        parts: the trained parts, and what each was trained on.
        lineage: whatever else is to be known of it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kept = {name: tensor for name, tensor in tensors.items() if name.split(".")[0] in parts}
    with atomic(folder / WEIGHTS) as unfinished:
        unfinished.write_bytes(save(kept))
    record = {"signals": SIGNALS_VERSION, "parts": dict(parts), **lineage}
    write_atomically(folder / RECORD, json.dumps(record, indent=1, sort_keys=True) + "\n")
