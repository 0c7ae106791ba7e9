"""The keys of scripts/evaluate.py and export_benchmark.py."""

from __future__ import annotations

from itertools import product
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from data.config import Names, Section
from data.selection.config import FrameKeys
from data.selection.known_policies import POLICIES, SHARED
from train.inference.config import Force
from train.metrics.config import JudgeKeys, TextScore
from train.sections import DataKeys


class EvaluationData(Section):
    """On which videos."""

    path: str | None = Field(
        default=None, description="prepared dataset with the videos and their references"
    )
    part: Literal["auto", "held_out", "all"] = Field(
        default="auto",
        description="which of its videos; auto: those held out, if the model was trained on it, else all",
    )
    limit: int | None = Field(default=None, ge=1, description="at most this many videos")
    target: Literal["timeline", "paragraph"] | None = Field(
        default=None, description="what to ask for (null: as in training, else timeline)"
    )


class EvaluatedModels(Section):
    """Models without an adapter."""

    name: Names = Field(default=(), description="checkpoints to evaluate as they are: a,b")
    dtype: Literal["auto", "bf16", "fp16", "fp32"] = Field(
        default="auto", description="precision: bf16 where native, fp16 on a T4, fp32 on CPU"
    )


class GenerateKeys(Section):
    """How answers are made."""

    max_new_tokens: int = Field(default=512, ge=1, description="longest answer")
    batch: int = Field(default=4, ge=1, description="videos described at a time")
    temperature: float = Field(
        default=0.0, ge=0, description="0: the most likely word; above: drawn, by seed"
    )
    seed: int = Field(default=0, ge=0, description="of drawn words, and of the resampling")


class EvaluateConfig(Section):
    """Keys of scripts/evaluate.py."""

    RENAMED: ClassVar = {"text": "soda_text", "compat": "published_soda"}

    data: EvaluationData = EvaluationData()
    adapter: Names = Field(default=(), description="run folders to evaluate: a,b")
    base: bool = Field(default=False, description="also the model the adapter was trained from")
    model: EvaluatedModels = EvaluatedModels()
    frames: FrameKeys = Field(
        default=FrameKeys(),
        description="given keys replace those of the run's own policy; policy=a,b compares them",
    )
    every: tuple[FrameKeys, ...] = Field(
        default=(), description="in a recipe: the frame policies to compare"
    )
    generate: GenerateKeys = GenerateKeys()
    predictions: str | None = Field(
        default=None, description="a file of any tool, to be scored against references or data.path"
    )
    references: str | None = Field(
        default=None, description="ActivityNet-style file: id → duration, timestamps, sentences"
    )
    compare: Names = Field(default=(), description="evaluations to put side by side: a,b")
    soda_text: TextScore = Field(default="meteor_lite", description="SODA's text score")
    published_soda: bool = Field(
        default=False, description="SODA as the published program computes it, quirks included"
    )
    judge: JudgeKeys = JudgeKeys()
    out: str | None = Field(default=None, description="folder of predictions, scores and report")
    report: bool = Field(default=True, description="also write report.html")
    overwrite: bool = Field(default=False, description="replace what is in out")
    force: Force = False
    json_: str | None = Field(default=None, alias="json", description="write the figures here")

    @model_validator(mode="before")
    @classmethod
    def _split(cls, values: Any) -> Any:
        """`frames.policy=scene,shots frames.threshold=20,27` → every combination that means one."""
        frames = values.get("frames") if isinstance(values, dict) else None
        if not isinstance(frames, dict):
            return values
        lists = {
            key: [part.strip() for part in str(frames[key]).split(",") if part.strip()]
            for key in ("policy", "threshold")
            if isinstance(frames.get(key), str | int | float)
        }
        if all(len(parts) < 2 for parts in lists.values()):
            return values
        combined = [
            {**frames, **dict(zip(lists, parts, strict=True))} for parts in product(*lists.values())
        ]
        known = [POLICIES.get(str(one.get("policy"))) for one in combined]
        used = [SHARED | (policy.keys if policy else set()) for policy in known]
        for one, own in zip(combined, used, strict=True):
            if "policy" in lists:  # what is of another of them
                for key in one.keys() - own:
                    if any(key in other for other in used):
                        del one[key]
        distinct = [one for i, one in enumerate(combined) if one not in combined[:i]]
        return {**values, "frames": distinct[0], "every": [*values.get("every", []), *distinct]}

    @model_validator(mode="after")
    def _one_thing_at_a_time(self) -> Self:
        models = bool(self.adapter or self.model.name)
        asked = [
            name
            for name, given in (
                ("adapter or model.name", models),
                ("predictions", self.predictions is not None),
                ("compare", bool(self.compare)),
            )
            if given
        ]
        if len(asked) != 1:
            raise ValueError(
                "say what to evaluate: adapter=RUN or model.name=MODEL with data.path=…, "
                "predictions=FILE references=FILE, or compare=a,b"
                + (f"; got {' and '.join(asked)}" if asked else "")
            )
        if models and self.data.path is None:
            raise ValueError("data.path: missing; which prepared dataset?")
        if self.predictions is not None and self.references is None and self.data.path is None:
            raise ValueError(
                "predictions needs references=FILE or data.path=…, what is true of the same videos"
            )
        if self.base and not self.adapter:
            raise ValueError("base=true needs adapter=RUN, the run whose base is scored too")
        if self.compare and len(self.compare) < 2:
            raise ValueError("compare needs two evaluations or more, as compare=evals/a,evals/b")
        if self.out is None and not self.compare:
            raise ValueError("out: missing (folder of predictions, scores and report); write out=…")
        return self

    def idle(self) -> list[str]:
        lines = []
        if not (self.adapter or self.model.name):
            which = "predictions" if self.predictions is not None else "compare"
            sections = {
                "data": self.data,
                "model": self.model,
                "frames": self.frames,
                "generate": self.generate,
            }
            heeded = {"seed", "path"} if which == "predictions" else {"seed"}
            lines += [
                f"{section}.{key}: {which} is only scored, no model describes"
                for section, keys in sections.items()
                for key in sorted(keys.changed().keys() - heeded)
            ]
        if self.references is not None and self.predictions is None:
            lines.append("references: of predictions=FILE; a model's are those of data.path")
        return [*lines, *self.judge.idle()]

    @property
    def frame_sets(self) -> tuple[FrameKeys, ...]:
        """What was asked of the frames, one entry a variant; a key that is not set is the run's."""
        return self.every or (self.frames,)


class ExportConfig(Section):
    """Keys of scripts/export_benchmark.py."""

    data: DataKeys = DataKeys()
    name: str = Field(description="the benchmark's name, also of its files")
    out: str = Field(description="folder that VLMEvalKit reads (its LMUData)")
    model: str | None = Field(
        default=None, description="folder of a merged model, for its configuration"
    )
    limit: int | None = Field(
        default=None, ge=1, description="at most this many of the held-out videos"
    )
