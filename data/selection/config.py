"""The keys of a frame policy."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from data.config import Section, one_of
from data.selection.known_policies import POLICIES, SHARED


def known_colour(name: str) -> str:
    """A colour by its name or as #rrggbb.

    Raises:
        ValueError: it is none.
    """
    from PIL import ImageColor

    ImageColor.getrgb(name)
    return name


SELECTOR_FILES = ("selector.safetensors", "selector.json")
"""Weights and record of a selector."""
SELECTOR_FOLDER = "selector"
"""Folder in a prepared dataset and in a run: the selector that chose the frames travels with them."""
SELECTOR_PATHS = tuple(f"{SELECTOR_FOLDER}/{name}" for name in SELECTOR_FILES)


class FrameKeys(Section):
    """How frames are chosen and stored: the frame policy."""

    RENAMED: ClassVar = {"rate": "candidate_fps"}

    policy: Annotated[str, one_of("policy", POLICIES)] = Field(
        default="scene", description=f"how frames are chosen: {', '.join(POLICIES)}"
    )
    max: int = Field(
        default=32, ge=1, le=1024, description="at most this many frames per window, or video"
    )
    window_s: float | None = Field(
        default=60.0,
        ge=4,
        description="a longer video becomes windows of at most this length, cut where shots end "
        "(null: none; data/README.md)",
    )
    px: int = Field(
        default=512, ge=16, le=4096, description="short side of stored frames, never enlarged"
    )
    tiles: int = Field(
        default=0,
        ge=0,
        description="so many of the frames, the sharpest, are shown again in quarters, to read small text; "
        "they take 4 frames of frames.max each",
    )
    fast: int = Field(
        default=0,
        ge=0,
        description="so many small frames of what moves between, several side by side in one picture; a picture takes "
        "one frame of frames.max",
    )
    fast_grid: int = Field(
        default=4, ge=2, le=9, description="frames.fast: small frames along a side of their picture"
    )
    outline: Annotated[str, AfterValidator(known_colour)] = Field(
        default="red", description="rows with boxes: colour of the line around the subject"
    )
    outlined: Literal["all", "first"] = Field(
        default="all",
        description="rows with boxes: mark the subject on all frames that show it, or on the first one alone, as "
        "when a box is given once (describe box=…)",
    )
    speed: Literal["exact", "fast", "keyframes"] = Field(
        default="exact",
        description="fast skips non-reference frames; keyframes decodes I-frames only",
    )
    fps: float = Field(default=1.0, gt=0, description="policy=fps|smolvlm: frames per second")
    candidate_fps: float = Field(
        default=4.0,
        gt=0,
        le=60,
        description="candidates per second, where pictures are compared (at most 4096 per video)",
    )
    method: str | None = Field(
        default=None,
        description="policy=correlation|embedding|learned|motion|query: "
        + "; ".join("|".join(p.methods) for p in POLICIES.values() if p.methods),
    )
    threshold: float | None = Field(
        default=None,
        description="policy=shots|l1|l2|correlation|embedding: its threshold (null: its default)",
    )
    size: int = Field(
        default=128, ge=8, le=512, description="policy=correlation: side of the compared pictures"
    )
    max_shift: int | None = Field(
        default=None, ge=0, description="policy=correlation: largest shift in pixels (null: any)"
    )
    circular: bool = Field(
        default=False, description="policy=correlation: shifts wrap around, no zero padding"
    )
    detector: Literal[
        "adaptive",
        "content",
        "hash",
        "histogram",
        "threshold",
        "histogram-coarse",
        "histogram-fine",
        "transnetv2",
    ] = Field(
        default="adaptive",
        description="policy=shots: PySceneDetect's detector or a preset, or transnetv2",
    )
    detector_options: dict[str, bool | int | float | list[float]] = Field(
        default={}, description="policy=shots: more parameters of the detector, as {bins: 256}"
    )
    boundaries: Literal["own", "transnetv2", "both", "learned"] = Field(
        default="own",
        description="policy=scene|learned: who finds where shots end; transnetv2 is a network, slow without "
        "a GPU, both joins what it and own find, learned is a selector",
    )
    selector: str | None = Field(
        default=None,
        description="policy=learned, boundaries=learned: a selector that was trained, folder or Hub "
        "name (null: the one that comes with scenescribe, for boundaries)",
    )
    selector_sha256: str | None = Field(
        default=None,
        description="hash of its weights, filled in by prepare: another selector is refused",
    )
    min_shot_s: float = Field(
        default=0.3, ge=0, description="policy=scene|learned|shots: shortest shot that is detected"
    )
    pick: Literal["first", "middle", "sharpest"] = Field(
        default="middle", description="policy=shots: which frame stands for a shot"
    )
    max_gap_s: float = Field(
        default=10.0,
        gt=0,
        description="policy=scene: largest gap between frames of a shot in which nothing moves",
    )
    encoder: str | None = Field(
        default=None, description="policy=embedding|query: image encoder, a Hub id or a folder"
    )
    query: str | None = Field(default=None, description="policy=query: the text to look for")
    decoder: Literal["pyav", "decord"] = Field(
        default="pyav", description="decoder of the stored pictures; the choice is the same"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        policy, known_of = self.policy, POLICIES[self.policy]
        methods, (low, high) = known_of.methods, known_of.threshold
        if self.method is not None and self.method not in methods:
            known = f"knows {', '.join(methods)}" if methods else "has no methods, leave it out"
            raise ValueError(f"method={self.method}: policy={policy} {known}")
        if self.threshold is not None and not low <= self.threshold <= high:
            raise ValueError(
                f"threshold={self.threshold:g}: policy={policy} takes {low:g} "
                + (f"to {high:g}" if high < float("inf") else "or more")
            )
        if self.fast % self.fast_grid**2:
            raise ValueError(
                f"fast={self.fast}: small frames come {self.fast_grid**2} in a picture "
                f"(frames.fast_grid={self.fast_grid}); give a multiple"
            )
        if self.max < self.least:
            whole = self.of_whole_frames().max
            parts = [f"{4 * self.tiles} quarters"] * bool(self.tiles)
            parts += [f"{self.grids} pictures of small frames"] * bool(self.fast)
            raise ValueError(
                f"max={self.max}: {' and '.join(parts)} leave {max(0, whole)} whole frames, and "
                f"{max(1, self.tiles)} must be left"
            )
        if known_of.measures == "features" and not self.encoder:
            raise ValueError(
                f"policy={policy} needs frames.encoder=…, an image encoder on the Hub or in a "
                "folder, as google/siglip2-base-patch16-224"
            )
        if "query" in known_of.keys and not (self.query or "").strip():
            raise ValueError("policy=query needs frames.query=…, the text to look for")
        if self.policy == "learned" and not self.selector:
            raise ValueError(
                "policy=learned needs frames.selector=…, a folder or Hub name; "
                "scripts/train_selector.py trains one"
            )
        by_network = self.needs_transnet()
        if by_network and self.speed == "keyframes":
            raise ValueError(f"{by_network} needs the frames between; use speed=exact or fast")
        if by_network == "detector=transnetv2" and not 0 <= (self.threshold or 0) <= 1:
            raise ValueError(f"threshold={self.threshold:g}: detector=transnetv2 takes 0 to 1")
        if self.speed != "exact" and self.method == "vectors":
            raise ValueError("method=vectors needs every frame; use speed=exact")
        return self

    @property
    def grids(self) -> int:
        """Number of pictures of small frames."""
        return self.fast // self.fast_grid**2

    @property
    def least(self) -> int:
        """The smallest `max` with the other keys as they are."""
        return self.max - self.of_whole_frames().max + max(1, self.tiles)

    def of_whole_frames(self) -> FrameKeys:
        """The keys by which whole frames are chosen: `max` is the number of them."""
        whole = self.max - 4 * self.tiles - self.grids
        return self.model_copy(update={"max": whole, "tiles": 0, "fast": 0})

    @property
    def in_parts(self) -> str:
        """Which of the frames are no whole ones, in words for a card; empty: all are."""
        side = self.fast_grid
        parts = [f"{4 * self.tiles} quarters of the sharpest"] * bool(self.tiles)
        parts += [f"{self.grids} with {side} × {side} small frames of what moves"] * bool(self.fast)
        return f", of them {' and '.join(parts)}" if parts else ""

    def needs_transnet(self) -> str:
        """The key that asks for TransNetV2; empty if none does."""
        uses = POLICIES[self.policy].keys
        if "boundaries" in uses and self.boundaries in ("transnetv2", "both"):
            return f"boundaries={self.boundaries}"
        return (
            "detector=transnetv2" if {"detector"} & uses and self.detector == "transnetv2" else ""
        )

    def needs_selector(self) -> bool:
        """Whether a selector takes part in the choice."""
        uses_one = "boundaries" in POLICIES[self.policy].keys and self.boundaries == "learned"
        return uses_one or self.policy == "learned"

    def needed_parts(self) -> tuple[str, ...]:
        """The parts of the selector that take part."""
        own = {"learned": ("events",) if self.method == "proposals" else ("values",)}
        return ("boundaries", *own.get(self.policy, ())) if self.needs_selector() else ()

    def unused(self) -> dict[str, str]:
        """Keys that are set although the policy ignores them → the line that says so."""
        found, own = {}, POLICIES[self.policy]
        for key in sorted(self.changed().keys() - SHARED - own.keys):
            owners = ", ".join(name for name, policy in POLICIES.items() if key in policy.keys)
            found[key] = f"frames.{key}: no key of policy={self.policy}, but of {owners}"
        if own.candidates == "key frames" and self.speed != "exact":
            found["speed"] = f"frames.speed: policy={self.policy} decodes I-frames only anyway"
        if self.threshold is not None and self.method in own.without_threshold:
            have = " and ".join(m for m in own.methods if m not in own.without_threshold)
            found["threshold"] = f"frames.threshold: method={self.method} has none; {have} have"
        return found

    def idle(self) -> list[str]:
        """The lines of `unused`."""
        return list(self.unused().values())
