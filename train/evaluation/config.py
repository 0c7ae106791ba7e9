"""The keys of scripts/evaluate.py and export_benchmark.py."""

from __future__ import annotations

from itertools import product
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from data.config import Names, Section
from data.selection.config import FrameKeys
from data.selection.known_policies import POLICIES, SHARED
from train.inference.config import Compress, Force
from train.metrics.config import JudgeKeys, TextScore
from train.sections import DataKeys


class EvaluationData(Section):
    """The videos to evaluate on."""

    path: str | None = Field(
        default=None, description="prepared dataset with the videos and their references"
    )
    part: Literal["auto", "held_out", "all"] = Field(
        default="auto",
        description="videos to use; auto: the held-out ones if a model was trained on the dataset, else all",
    )
    limit: int | None = Field(
        default=None, ge=1, description="maximum number of videos (null: no limit)"
    )
    target: Literal["timeline", "paragraph"] | None = Field(
        default=None,
        description="form of the answers (null: as in training; timeline for an untrained model)",
    )


class EvaluatedModels(Section):
    """Models without an adapter."""

    name: Names = Field(default=(), description="checkpoints to evaluate as they are: a,b")
    dtype: Literal["auto", "bf16", "fp16", "fp32"] = Field(
        default="auto", description="precision: bf16 where native, fp16 on a T4, fp32 on CPU"
    )


class GenerateKeys(Section):
    """Generation settings."""

    max_new_tokens: int = Field(
        default=512, ge=1, description="maximum length of an answer, tokens"
    )
    batch: int = Field(default=4, ge=1, description="videos per batch of generation")
    temperature: float = Field(
        default=0.0, ge=0, description="0: greedy decoding; above 0: sampling at this temperature"
    )
    seed: int = Field(default=0, ge=0, description="seed of sampling and of the bootstrap")


class EvaluateConfig(Section):
    """Keys of scripts/evaluate.py."""

    COMMON: ClassVar[tuple[str, ...]] = (
        "data.path",
        "adapter",
        "base",
        "model.name",
        "predictions",
        "references",
        "compare",
        "out",
        "data.limit",
        "frames.policy",
        "frames.max",
        "soda_text",
        "judge.model",
        "json",
    )

    RENAMED: ClassVar = {"text": "soda_text", "compat": "published_soda"}

    data: EvaluationData = EvaluationData()
    adapter: Names = Field(default=(), description="run folders to evaluate: a,b")
    base: bool = Field(default=False, description="also evaluate the base model of each adapter")
    model: EvaluatedModels = EvaluatedModels()
    frames: FrameKeys = Field(
        default=FrameKeys(),
        description="frame policy: keys given here replace those of the run; policy=a,b compares policies",
    )
    every: tuple[FrameKeys, ...] = Field(
        default=(), description="list of frame policies to compare; for recipes"
    )
    generate: GenerateKeys = GenerateKeys()
    compress: Compress = 0.0
    worth: bool = Field(
        default=True,
        description="also measure what frames are worth: the loss of the references with a video's own frames, with "
        "grey ones and with another video's",
    )
    general: bool = Field(
        default=False,
        description="also measure what was forgotten: the loss of plain instructions without video, beside the base's",
    )
    copies: bool | None = Field(
        default=None,
        description="name held-out videos of which a copy was trained on (null: in datasets of up to 10,000 rows)",
    )
    predictions: str | None = Field(
        default=None,
        description="predictions file of any tool, scored against references or data.path",
    )
    references: str | None = Field(
        default=None,
        description="references file in ActivityNet's form: id → duration, timestamps, sentences",
    )
    compare: Names = Field(default=(), description="folders of evaluations to compare: a,b")
    soda_text: TextScore = Field(default="meteor_lite", description="SODA's text score")
    published_soda: bool = Field(
        default=False, description="SODA as the published program computes it, quirks included"
    )
    judge: JudgeKeys = JudgeKeys()
    out: str | None = Field(default=None, description="folder of predictions, scores and report")
    report: bool = Field(default=True, description="also write report.html")
    overwrite: bool = Field(
        default=False, description="replace an evaluation that is already in out"
    )
    force: Force = False
    json_: str | None = Field(
        default=None, alias="json", description="file for the scores, as JSON"
    )

    @model_validator(mode="before")
    @classmethod
    def _split(cls, values: Any) -> Any:
        """`frames.policy=scene,shots frames.threshold=20,27` → one entry per distinct combination. A key
        that one policy uses is dropped from the policies that do not."""
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
            if "policy" in lists:  # keys that only another listed policy uses
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
                "predictions needs the references of the same videos: references=FILE or data.path=…"
            )
        if self.base and not self.adapter:
            raise ValueError("base=true needs adapter=RUN, the run whose base model is scored too")
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
            lines += [
                f"{key}: {which} is only scored, no model is loaded"
                for key in ("worth", "general", "copies")
                if key in self.changed()
            ]
            heeded = {"seed", "path"} if which == "predictions" else {"seed"}
            lines += [
                f"{section}.{key}: {which} is only scored, no model describes"
                for section, keys in sections.items()
                for key in sorted(keys.changed().keys() - heeded)
            ]
        if self.references is not None and self.predictions is None:
            lines.append("references: of predictions=FILE; a model's are those of data.path")
        if self.compress and "worth" in self.changed():
            lines.append("worth: not measured with compress, which leaves picture tokens out")
        return [*lines, *self.judge.idle()]

    @property
    def frame_sets(self) -> tuple[FrameKeys, ...]:
        """The frame keys of each variant to evaluate. A key that is not set keeps the run's value."""
        return self.every or (self.frames,)


class ExportConfig(Section):
    """Keys of scripts/export_benchmark.py."""

    data: DataKeys = DataKeys()
    name: str = Field(description="name of the benchmark and of its files")
    out: str = Field(description="folder that VLMEvalKit reads (its LMUData)")
    model: str | None = Field(
        default=None,
        description="folder of a merged model to name in the configuration (null: a placeholder)",
    )
    limit: int | None = Field(
        default=None, ge=1, description="maximum number of held-out videos (null: no limit)"
    )
