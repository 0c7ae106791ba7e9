"""Evaluation during training: a few held-out videos are described, scored, and sent to the trackers."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from accelerate import Accelerator
from accelerate.utils import gather_object
from datasets import Dataset
from PIL import Image
from transformers import PreTrainedModel, SmolVLMProcessor, TrainerCallback
from transformers.integrations import TensorBoardCallback, TrackioCallback, WandbCallback

from data.errors import UserError, first_line, warn
from data.pages.contact_sheet import contact_sheet, frames_of
from data.target import timeline
from data.window import rows_of_samples
from train.evaluation.by_sample import pictures_of, predictions_of, references_of
from train.evaluation.judging import judged
from train.evaluation.records import Prediction, Reference
from train.evaluation.scoring import score
from train.inference.generate import Generation, answer, generation_prompt
from train.metrics.shown import SHOWN
from train.run.files import SAMPLES
from train.run.trackers import Tracker
from train.sections import DataKeys, EvalKeys

LOGGED = {one.name: one.log for one in SHOWN if one.log}
"""Measure → its name in the logs, without the prefix `eval_`."""
SHEET_PX = 160
"""Width of a frame in the pictures sent to the trackers."""
EXAMPLES = 3
"""Number of answers sent to the trackers each time."""
COLUMNS = ("video", "frames", "reference", "said")


@dataclass
class GenerationEval:
    """Describes and scores the same held-out videos at every evaluation."""

    rows: Dataset
    """Prepared rows with their frames."""
    processor: SmolVLMProcessor
    keys: EvalKeys
    data: DataKeys
    folder: Path
    trackers: tuple[Tracker, ...] = ()
    which: list[str] | None = None
    """Samples described the first time; reused, so that scores compare across steps."""
    _truths: dict[str, Reference] = field(default_factory=dict)

    def is_due(self, step: int, last: int) -> bool:
        every = self.keys.generate_every
        return every is not None and (step % every == 0 or step == last)

    def run(self, model: PreTrainedModel, accelerator: Accelerator, step: int) -> dict[str, float]:
        """Scores by their names in the logs, the same on every process. A failure never stops training: it
        is reported, and leaves a gap in the curve."""
        started = time.monotonic()
        said, failed = self._describe(model, accelerator)
        if not said and not failed:
            failed = (
                f"eval.max_seconds={self.keys.max_seconds:g}: not one video could be described in that time; "
                "raise it, or lower eval.max_new_tokens"
            )
        figures: dict[str, float] = {}
        if accelerator.is_main_process and said:
            try:
                self._score(said, step, figures)
            except Exception as error:  # noqa: BLE001 - evaluation must not stop training
                failed = _line(error)
        (figures,) = _from_first(figures)
        if failed and accelerator.is_main_process:
            warn(
                f"note: step {step}: a gap in the curve of held-out videos, training goes on ({failed})"
            )
        logged = {f"eval_{name}": figures[key] for key, name in LOGGED.items() if key in figures}
        return {
            **logged,
            "eval_described": len(said),
            "eval_describe_s": round(time.monotonic() - started, 2),
        }

    def _score(self, said: Mapping[str, Prediction], step: int, figures: dict[str, float]) -> None:
        """Score into `figures`, on the first process. The judge comes last: if it fails, the others stay."""
        references = {name: self._reference(name) for name in said}
        timed = self.data.target == "timeline"
        scored = score(references, said, text_score=self.keys.soda_text, timed=timed)
        figures |= {m.name: m.value for m in scored.measures}
        self._show(said, references, step)
        if self.keys.judge.model is not None:
            keys = self.keys.judge
            pictures = pictures_of(self.rows, said.keys(), keys.frames) if keys.frames else {}
            (more,), _ = judged(
                keys, references, [said], timed, max_s=self.keys.max_seconds, pictures=pictures
            )
            figures |= {m.name: m.value for m in more}

    def _reference(self, name: str) -> Reference:
        if not self._truths:
            self._truths = references_of(self.rows)
        return self._truths[name]

    def _describe(
        self, model: PreTrainedModel, accelerator: Accelerator
    ) -> tuple[dict[str, Prediction], str]:
        """Predictions of all processes by video id, and the first error of any of them, or "". Each process
        describes its share within `eval.max_seconds`; batches cut off by that limit are dropped. Errors
        are returned, not raised, because every process must reach the gathering below."""
        end = time.monotonic() + self.keys.max_seconds
        places = rows_of_samples(self.rows["sample_id"])
        wanted = self.which or list(places)[: self.keys.samples]
        samples = wanted[accelerator.process_index :: accelerator.num_processes]
        mine = [i for name in samples for i in places[name]]  # a sample's windows, in order
        texts: list[Generation] = []
        said: list[tuple[int, str, Prediction]] = []
        failed = ""
        training = model.training
        model.eval()
        try:
            for start in range(0, len(mine), self.keys.batch):
                left = end - time.monotonic()
                if left <= 0:
                    break
                batch = mine[start : start + self.keys.batch]
                prompts = [
                    generation_prompt(self.rows[i], self.processor, self.data) for i in batch
                ]
                with accelerator.autocast():
                    some = answer(
                        model,
                        self.processor,
                        prompts,
                        max_new_tokens=self.keys.max_new_tokens,
                        max_s=left,
                    )
                if time.monotonic() >= end:
                    break
                texts += some
            said = self._of_samples(samples, places, texts)
        except Exception as error:  # noqa: BLE001 - as above
            failed = _line(error)
        finally:
            model.train(training)
        together = sorted(gather_object(said), key=lambda one: one[0])
        failed = next(filter(None, gather_object([failed])), "")
        if not failed:
            self.which = self.which or [name for _, name, _ in together]
        if len(together) < len(wanted) and accelerator.is_main_process:
            warn(
                f"eval.max_seconds={self.keys.max_seconds:g}: {len(together)} of {len(wanted)} videos described"
            )
        # scores of other videos than before would not be comparable
        return {} if failed else {name: one for _, name, one in together}, failed

    def _of_samples(
        self, samples: Sequence[str], places: Mapping[str, list[int]], texts: Sequence[Generation]
    ) -> list[tuple[int, str, Prediction]]:
        """First row, id and prediction of each sample of which every window has its text."""
        order = [i for name in samples for i in places[name]][: len(texts)]
        if not order:
            return []
        said = predictions_of(
            self.rows.select(order), [t.text for t in texts], [t.cut for t in texts], self.data
        )
        described = set(order)
        return [
            (here[0], name, said[name])
            for name in samples
            if set(here := places[name]) <= described
        ]

    def _show(
        self,
        said: Mapping[str, Prediction],
        references: Mapping[str, Reference],
        step: int,
    ) -> None:
        """Append all answers to `samples.jsonl`, and send a few to the trackers."""
        with (self.folder / SAMPLES).open("a", encoding="utf-8") as file:
            for name, one in said.items():
                file.write(json.dumps({"step": step, "id": name, "text": one.text}) + "\n")
        if not self.trackers:
            return
        rows: list[Shown] = []
        for name, one in list(said.items())[:EXAMPLES]:
            reference = references[name]
            places = rows_of_samples(self.rows["sample_id"])[name]
            seen = contact_sheet(frames_of(self.rows.select(places))[0], SHEET_PX)
            rows.append((name, seen, timeline(reference.events) or reference.description, one.text))
        for tracker in self.trackers:
            if tracker.wants(step):
                try:
                    _to_tracker(tracker.inner, rows, step)
                except Exception as error:  # noqa: BLE001 - nor must a tracker
                    tracker.lost(error)


Shown = tuple[str, Image.Image, str, str]
"""Video id, its frames, the reference, the answer."""


def _to_tracker(tracker: TrainerCallback, rows: Sequence[Shown], step: int) -> None:
    if isinstance(tracker, WandbCallback):
        import wandb

        if wandb.run is not None:
            table = wandb.Table(
                columns=list(COLUMNS),
                data=[[name, wandb.Image(seen), *texts] for name, seen, *texts in rows],
            )
            wandb.run.log({"samples": table, "train/global_step": step})
    elif isinstance(tracker, TrackioCallback):
        import pandas as pd
        import trackio

        cells = [[name, trackio.Image(seen), *texts] for name, seen, *texts in rows]
        shown = trackio.Table(dataframe=pd.DataFrame(cells, columns=list(COLUMNS)))
        trackio.log({"samples": shown, "train/global_step": step})
    elif isinstance(tracker, TensorBoardCallback) and tracker.tb_writer is not None:
        for name, seen, reference, text in rows:
            markdown = "\n".join(
                f"    {line}"
                for line in ("reference", reference, "", "said", text)
                for line in line.split("\n")
            )
            tracker.tb_writer.add_text(f"samples/{name}", markdown, step)
            if step == 0:
                pixels = np.asarray(seen)  # (H, W, 3)
                tracker.tb_writer.add_image(f"samples/{name}", pixels, 0, dataformats="HWC")


def _line(error: Exception) -> str:
    kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
    return f"{kind}{first_line(error)}"


def _from_first(value: dict[str, float]) -> list[dict[str, float]]:
    """The first process's value, on all processes: they must agree on which checkpoint is best."""
    from accelerate.utils import broadcast_object_list

    return list(broadcast_object_list([value]))
