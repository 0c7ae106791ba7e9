"""The keys of a source: which dataset, which of its rows, and what becomes the target."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from data.config import Names, Section, one_of, resolved
from data.sources.known_sources import SHARED, SOURCES

Share = Annotated[float, Field(ge=0, le=1)]


class SourceKeys(Section):
    """Where samples come from. `source=jsonl` is short for `source.name=jsonl`."""

    name: Annotated[str, one_of("source", SOURCES)] | None = Field(
        default=None, description=f"which source reads the rows: {', '.join(SOURCES)}"
    )
    path: str | None = Field(
        default=None,
        description="its file, folder or URL; finevideo, videofeedback: null is the Hub; "
        "microworld: where its videos are rendered; files: videos to be described",
    )
    videos: str | None = Field(
        default=None,
        description="folder (or zip) with the videos; null: beside the rows, videofeedback: the Hub",
    )
    limit: int | None = Field(
        default=None, gt=0, description="read at most this many rows, not counting filtered ones"
    )
    shuffle_seed: int | None = Field(
        default=None, ge=0, description="shuffle the rows (finevideo: its Parquet files)"
    )
    weight: float | None = Field(
        default=None, gt=0, description="share of this source in a mixture (recipe=sources)"
    )
    seed: int = Field(default=0, ge=0, description="microworld: seed of the rendered videos")
    film_s: tuple[Annotated[float, Field(ge=2)], Annotated[float, Field(le=36_000)]] | None = Field(
        default=None,
        description="microworld: shortest and longest video, in seconds, of films with longer scenes, "
        "as [60,600] (null: clips of 6 to 20 s)",
    )
    busy: bool = Field(
        default=False,
        description="microworld: with scenes of which nothing is told, moving stripes and empty stages",
    )
    revision: str | None = Field(
        default=None, description="finevideo|videofeedback: branch, tag or commit on the Hub"
    )
    subset: Literal["annotated", "real"] = Field(
        default="real", description="videofeedback: real videos, or generated ones with five scores"
    )
    split: Literal["all", "train", "validation", "test"] = Field(
        default="all", description="finevideo: split by hash of the video; else the dataset's own"
    )
    shares: tuple[Share, Share, Share] = Field(
        default=(0.9, 0.05, 0.05), description="finevideo: shares of train, validation and test"
    )
    ids: Names | None = Field(
        default=None, description="only these videos; or a text file with one id a line"
    )
    category: Names | None = Field(
        default=None, description="finevideo: only these fine categories"
    )
    parent_category: Names | None = Field(
        default=None, description="finevideo: only these parent categories"
    )
    min_duration_s: float | None = Field(
        default=None, ge=0, description="finevideo: shortest video"
    )
    max_duration_s: float | None = Field(default=None, gt=0, description="finevideo: longest video")
    language: Names | None = Field(
        default=None, description="finevideo: language of the speech, like en (extra: language)"
    )
    min_av_correlation: float | None = Field(
        default=None, ge=0, le=1, description="finevideo: lowest mean audioVisualCorrelation"
    )
    level: Literal["scene", "activity"] = Field(
        default="scene", description="finevideo: an event is a scene or an activity"
    )
    speech: Literal["drop", "keep"] = Field(
        default="drop", description="finevideo: notes about speech, which no frame shows"
    )
    speech_context: bool = Field(
        default=False,
        description="put timed speech before the instruction: finevideo's own; jsonl|activitynet|files: subtitles "
        "beside a video (.srt, .vtt, .ass) or inside it",
    )
    qa: bool = Field(default=False, description="finevideo: add its questions as further turns")
    min_alignment: int | None = Field(
        default=None, ge=1, le=4, description="videofeedback: lowest text-to-video alignment"
    )
    rating: bool = Field(
        default=False, description="videofeedback: add the five scores as a second turn"
    )

    @model_validator(mode="after")
    def _belong_to_the_source(self) -> Self:
        if self.name is None:
            if self.model_fields_set:
                raise ValueError(f"missing; write source=… ({', '.join(SOURCES)})")
            return self
        foreign = self.model_fields_set - SHARED - SOURCES[self.name].keys
        if foreign:
            owners = [name for name, source in SOURCES.items() if foreign & source.keys]
            raise ValueError(
                f"{', '.join(sorted(foreign))}: no key of source={self.name}, but of {', '.join(owners)}"
            )
        if SOURCES[self.name].needs_path and self.path is None:
            raise ValueError(f"source={self.name} needs source.path=FILE")
        if abs(sum(self.shares) - 1) > 1e-6:
            raise ValueError(f"shares={list(self.shares)}: must add up to 1")
        shortest, longest = self.min_duration_s, self.max_duration_s
        if shortest is not None and longest is not None and shortest > longest:
            raise ValueError("min_duration_s is larger than max_duration_s: no video is both")
        if self.film_s is not None and self.film_s[0] > self.film_s[1]:
            raise ValueError("film_s: the shortest film is longer than the longest")
        if self.name == "microworld" and self.shuffle_seed is not None:
            raise ValueError("shuffle_seed: rendered videos have no order; use source.seed")
        if self.name == "videofeedback" and self.split == "validation":
            raise ValueError("split=validation: videofeedback has train and test")
        return self

    def idle(self) -> list[str]:
        lines = []
        if self.split == "all" and "shares" in self.changed():
            lines.append(
                "source.shares: of which split? give source.split=train, validation or test"
            )
        if self.revision is not None and self.path is not None and "://" not in self.path:
            lines.append(
                f"source.revision={self.revision}: a revision of the Hub, no effect on source.path={self.path}"
            )
        return lines

    def record(self) -> dict[str, Any]:
        """The keys that decide which rows are read and what they say, for the manifest."""
        assert self.name is not None
        values = resolved(self)
        wanted = (SHARED | SOURCES[self.name].keys) - {
            "revision"
        }  # `version` holds the commit it points to
        if self.name != "finevideo" and not self.speech_context:
            wanted -= {"speech_context"}  # unknown to the manifests of earlier datasets
        if not self.busy:
            wanted -= {"busy"}
        return {k: v for k, v in values.items() if k in wanted and v is not None}
