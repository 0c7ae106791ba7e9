"""Several tiny models trained and scored at a time, one per setting and seed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from tqdm import tqdm
from transformers import SmolVLMForConditionalGeneration

from data.config import load
from train import sft
from train.batches.frames import frame_size_px
from train.config import TrainConfig
from train.console import say
from train.demo.prewarm import build_prewarmed, learn_classes
from train.evaluation.answers import answers
from train.evaluation.by_sample import predictions_of
from train.evaluation.config import GenerateKeys
from train.evaluation.intervals import Measure, bootstrap, interval
from train.evaluation.records import Prediction
from train.evaluation.scoring import Scored
from train.model import tiny
from train.model.load import load_processor
from train.run.saved import read_run
from train.sections import ModelKeys

Pictures = Callable[[np.random.Generator, int], tuple[torch.Tensor, torch.Tensor, Sequence[int]]]
"""Makes pictures of so many pixels: (N, 3, S, S) uint8, (N, K) numbers of their classes, (K,) classes of each kind."""


def one_core_each(workers: int) -> AbstractContextManager[ProcessPoolExecutor | None]:
    """A pool of processes in each of which torch uses one thread. None, this process itself, for one worker."""
    if workers == 1:
        torch.set_num_threads(1)
        return contextlib.nullcontext()
    return ProcessPoolExecutor(
        workers,
        mp_context=get_context("spawn"),
        initializer=torch.set_num_threads,
        initargs=(1,),
    )


def in_pool(
    pool: ProcessPoolExecutor | None, what: str, function: Any, calls: Sequence[tuple[Any, ...]]
) -> list[Any]:
    """The function's results for all calls, in order, with a progress bar."""
    if pool is None:
        return [function(*call) for call in tqdm(calls, desc=what)]
    with tqdm(total=len(calls), desc=what) as bar:
        futures = [pool.submit(function, *call) for call in calls]
        for future in futures:
            future.add_done_callback(lambda _: bar.update())
        return [future.result() for future in futures]


def warmed_base(work: str, seed: int, steps: int) -> None:
    """Make the model that all settings of a seed start from, with vision warmed up on single pictures."""
    folder = Path(work) / f"base-{seed}"
    make_base(folder, lambda: build_prewarmed(folder, steps=steps, seed=seed))


def base_that_sees(folder: Path, seed: int, pictures: Pictures, steps: int) -> None:
    """Make a tiny model whose tower has learned to tell the classes of pictures, as SmolVLM2 starts with one that sees."""

    def build() -> None:
        tiny.build(folder, seed=seed)
        processor = load_processor(ModelKeys(name=str(folder)))
        model = SmolVLMForConditionalGeneration.from_pretrained(folder)
        frames, classes, kinds = pictures(
            np.random.default_rng([seed, 1]), frame_size_px(processor)
        )
        right = learn_classes(model, processor, frames, classes, kinds, steps=steps, seed=seed)
        say(f"accuracy of each kind in the last steps: {right}")
        model.save_pretrained(folder)

    make_base(folder, build)


def make_base(folder: Path, build: Callable[[], object]) -> None:
    """Build a model in a folder, unless an earlier call did."""
    if (folder / "warm").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    with quietly(folder / "log.txt"):
        build()
    (folder / "warm").touch()


def told_by(
    run: Path, rows: Dataset, *, mark: str = "", most_tokens: int = 160
) -> dict[str, Prediction]:
    """What a run says of rows. Answers of an earlier call are reused; `mark`: of the files' names, for other frames."""
    saved, keys = read_run(run), GenerateKeys(max_new_tokens=most_tokens, batch=16)
    with quietly(run / f"describe{mark}.txt"):
        file = run / f"answers{mark}.jsonl"
        said = answers(saved, rows, keys, file, dtype="fp32", overwrite=False)
    return predictions_of(rows, [s.text for s in said], [s.cut for s in said], saved.data)


def with_interval(figures: Mapping[str, float], key: str) -> str:
    """A figure and its interval, for a table."""
    low, high = figures[f"{key}/low"], figures[f"{key}/high"]
    return f"{figures[key]:.3f} [{low:.3f}, {high:.3f}]"


def tiny_run(
    base: str | Path, dataset: str | Path, out: Path, *, steps: int, seed: int, more: Sequence[str]
) -> None:
    """Train the model `base` on a dataset by the demo's recipe, unless `out` holds the finished run. `more`: keys. What
    frames are worth to it is not asked."""
    if (out / "run.json").exists():
        return
    keys = load(
        TrainConfig,
        [
            "recipe=demo",
            f"model.name={base}",
            f"data.path={dataset}",
            "data.workers=0",
            f"train.steps={steps}",
            f"train.eval_every={steps}",
            "eval.worth=false",
            f"train.output={out}",
            f"train.seed={seed}",
            *more,
        ],
    )
    out.mkdir(parents=True, exist_ok=True)
    with quietly(out / "log.txt"):
        sft.main(keys)


def train_from_base(work: str, dataset: str | Path, out: Path, *, steps: int, seed: int) -> None:
    """`tiny_run` from the model that all settings of a seed start from."""
    base, more = f"{work}/base-{seed}", ["data.eval_share=0.02"]
    tiny_run(base, dataset, out, steps=steps, seed=seed, more=more)


@contextlib.contextmanager
def quietly(log: Path) -> Any:
    """Send output to a log file: several models run at a time."""
    with (
        log.open("a", encoding="utf-8") as file,
        contextlib.redirect_stdout(file),
        contextlib.redirect_stderr(file),
    ):
        yield


def noted(
    figures: dict[str, float],
    key: str,
    every: Sequence[Scored | Mapping[str, Measure]],
    seeds: Sequence[int],
    names: Iterable[str],
) -> np.ndarray:
    """Add measures of a setting to flat figures: over all seeds with their intervals, and of each seed. Returns the
    bootstrap's values (B, M).

    Args:
        every: the scores of each seed.
    """
    pooled = over_seeds(every, names)
    draws = bootstrap(pooled)
    for i, measure in enumerate(pooled):
        low, high = interval(draws[:, i])
        name = f"{key}/{measure.name}"
        figures |= {name: measure.value, f"{name}/low": low, f"{name}/high": high}
        for seed, one in zip(seeds, every, strict=True):
            figures[f"{name}/seed_{seed}"] = one[measure.name].value
    return draws


def note_lead(
    figures: dict[str, float],
    key: str,
    of: str,
    over: str,
    draws: tuple[np.ndarray, np.ndarray],
    names: Iterable[str],
) -> None:
    """Add to flat figures by how much the setting `of` leads the setting `over`, both noted, with intervals of the
    difference on the same resamples.

    Args:
        draws: what `noted` returned for the two.
    """
    for i, name in enumerate(names):
        low, high = interval(draws[0][:, i] - draws[1][:, i])
        lead = figures[f"{of}/{name}"] - figures[f"{over}/{name}"]
        figures |= {f"{key}/{name}": lead, f"{key}/{name}/low": low, f"{key}/{name}/high": high}


def shown_lead(figures: Mapping[str, float], key: str) -> str:
    """A lead and its interval, for a table."""
    return f"{figures[key]:+.3f} [{figures[f'{key}/low']:+.3f}, {figures[f'{key}/high']:+.3f}]"


def over_seeds(
    every: Sequence[Scored | Mapping[str, Measure]], names: Iterable[str]
) -> list[Measure]:
    """The measures over all seeds, summed per video, so that intervals are over videos."""
    return [Measure(n, np.sum([s[n].parts for s in every], axis=0), every[0][n].of) for n in names]
