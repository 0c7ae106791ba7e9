"""What people call from Python: `from train import load_run, describe, evaluate`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

from peft import PeftModel
from transformers import PreTrainedModel, SmolVLMProcessor

from data.config import validated
from data.pages.render import render
from data.sample import Event
from data.selection.chosen_frames import ChosenFrames
from data.selection.windows import of_all
from train.evaluation import evaluate as evaluating
from train.evaluation.config import EvaluateConfig
from train.evaluation.report import table
from train.evaluation.results import Figure
from train.inference.answering import describe_windows
from train.inference.describe import whole_of
from train.inference.generate import answer_length
from train.inference.generate import load_run as load_model
from train.inference.rows import as_row, windows_or_refuse, with_speech
from train.run.saved import SavedRun, read_run


@dataclass(frozen=True)
class Run:
    """A fine-tuned model, ready to describe videos."""

    saved: SavedRun
    """Its base model, frame policy and prompt."""
    model: PreTrainedModel | PeftModel
    processor: SmolVLMProcessor

    def __repr__(self) -> str:
        saved = self.saved
        kind = f"an adapter on {saved.base.name}" if saved.is_adapter else "a model"
        seen = f"{saved.frames.policy}, at most {saved.frames.max} frames"
        return f"Run({str(saved.folder)!r}: {kind}; {seen})"


@dataclass(frozen=True)
class Description:
    """What a model says of a video; a notebook shows it with the frames."""

    text: str
    """As the model wrote it."""
    events: tuple[Event, ...]
    """The lines of it that have times, in seconds from the video's start."""
    cut: bool
    """Generation stopped at the limit of new tokens."""
    frames: ChosenFrames = field(repr=False)
    """Frames that were chosen; `times_s` are their times."""

    def _repr_html_(self) -> str:
        return self.frames.html("", text=self.text, events=[asdict(e) for e in self.events])


def load_run(name: str | Path, *, base: str | None = None, dtype: str = "auto") -> Run:
    """Load a run: a run folder, a merged model, or its name on the Hub (`you/clips`, `you/clips@v2`).

    Args:
        base: another base model than the run's record says.
        dtype: bf16, fp16, fp32, or auto: bf16 where native, fp16 on a T4, fp32 on a CPU.

    Raises:
        UserError: there is no run, parts of it are missing, or it is not the model that was saved.

    Example:
        >>> load_run("runs/clips")
        Run('runs/clips': an adapter on ...; scene, at most 6 frames)
    """
    saved = read_run(name, base)
    return Run(saved, *load_model(saved, dtype))


def describe(
    run: Run, video: str | Path, *, prompt: str = "", max_new_tokens: int | None = None
) -> Description:
    """Describe a video with the frame policy and the prompt of the run's training; a long one window by
    window, with what is said of them joined.

    Args:
        prompt: another instruction than the run's own.
        max_new_tokens: longest answer; None: 512, or as the longest that the run learned from.

    Raises:
        UserError: the video cannot be used.

    Example:
        >>> said = describe(load_run("runs/clips"), "holiday.mp4")
        >>> said.frames
        ChosenFrames(6 frames of 9.5 s: 1.1, 2.7, 3.7, 5.4, 6.9, 8.7 s)
        >>> for event in said.events:
        ...     print(event.start_s, event.end_s, event.text)
    """
    saved = run.saved
    windows = windows_or_refuse(str(video), saved.frames, saved.policy.min_decoded)
    context = with_speech(str(video), "") if saved.policy.speech_context else ""
    rows = [as_row(str(video), one, prompt, context) for one in windows]
    length = max_new_tokens or answer_length(saved)
    answers = list(describe_windows((run.model, run.processor), saved, rows, max_new_tokens=length))
    whole = whole_of(answers, saved)
    cut = any(one.said.cut for one in answers)
    return Description(whole.text, whole.events, cut, of_all(windows))


@dataclass(frozen=True)
class Scores:
    """The figures of an evaluation, by system and measure, with 95 % intervals over videos."""

    figures: dict[str, dict[str, Figure]]
    report: Path
    """The page with every video."""
    captions: tuple[tuple[str, str], ...] = field(repr=False)

    def __getitem__(self, system: str) -> dict[str, Figure]:
        return self.figures[system]

    def _repr_html_(self) -> str:
        return render(
            Path(__file__).parent / "evaluation/report/scores.html",
            figures=self.figures,
            captions=self.captions,
            report=str(self.report),
        )


def evaluate(
    dataset: str | Path,
    adapter: str | Path,
    out: str | Path,
    *,
    base: bool = False,
    limit: int | None = None,
    max_new_tokens: int = 512,
) -> Scores:
    """Describe held-out videos of a prepared dataset and score what is said. A stopped call continues.

    Args:
        dataset: the prepared dataset that the run was trained on, or another.
        out: folder of predictions, scores and report.
        base: also the base model, as the system `base`; the run is `tuned`.
        limit: at most this many videos.

    Raises:
        UserError: the dataset or the run is not there, or `out` holds something else.

    Example:
        >>> scores = evaluate("prepared/videos", "runs/clips", "evals/clips", limit=2)
        2 videos of prepared/videos (held out from training)
        >>> scores["tuned"]["soda_c"]
        Figure(value=..., low=..., high=...)
    """
    values = {
        "data": {"path": str(dataset), "limit": limit},
        "adapter": [str(adapter)],
        "base": base,
        "generate": {"max_new_tokens": max_new_tokens},
        "out": str(out),
    }
    config = validated(EvaluateConfig, values)
    done = evaluating.evaluate(config, shown=False)
    summary = table.summarise(done, config.generate.seed)
    names = [system.name for system in done.systems]
    return Scores(
        dict(zip(names, summary.values, strict=True)),
        Path(out) / "report.html",
        tuple(table.rows_of(done, summary)),
    )
