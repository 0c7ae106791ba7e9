"""What a run's model says of rows: windows of videos, a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from peft import PeftModel
from transformers import PreTrainedModel, SmolVLMProcessor

from train.batches.encode import TooLong
from train.inference.generate import Generation, answer, generation_prompt
from train.run.saved import SavedRun

T = TypeVar("T")
Model = tuple[PreTrainedModel | PeftModel, SmolVLMProcessor]


@dataclass(frozen=True)
class WindowAnswer:
    """What was said of one window, or of a whole short video."""

    row: dict[str, Any]
    """As `as_row`."""
    said: Generation
    seen_s: tuple[float, ...]
    """Times of the frames that fit into the prompt, on the video's clock."""
    context_cut: bool = False
    """Lines were left out at the end of its context."""
    error: str = ""
    """Why nothing was said: the text alone does not fit into a prompt, or a server refused."""


Ask = Callable[[Iterable[dict[str, Any]]], Iterator[WindowAnswer]]
"""Rows → an answer for each, in order."""


def describe_windows(
    model: Model,
    run: SavedRun,
    rows: Iterable[dict[str, Any]],
    *,
    max_new_tokens: int,
    batch: int = 1,
    max_s: float | None = None,
    compress: float = 0.0,
) -> Iterator[WindowAnswer]:
    """Describe windows, each as soon as its batch is done. The rows of the next batch are read, and their
    frames decoded, while the model works.

    Args:
        max_s: seconds after which a batch's generation stops, finished or not.
        compress: share of picture tokens to leave out.
    """

    def prompted(row: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any] | TooLong]:
        try:
            return row, generation_prompt(row, model[1], run.data)
        except TooLong as error:
            return row, error

    for some in _one_ahead([prompted(row) for row in rows_] for rows_ in batched(rows, batch)):
        prompts = [prompt for _, prompt in some if not isinstance(prompt, TooLong)]
        said = iter(
            answer(
                *model,
                prompts,
                max_new_tokens=max_new_tokens,
                max_s=max_s,
                stop_loops=True,
                compress=compress,
            )
            if prompts
            else ()
        )
        for row, prompt in some:
            if isinstance(prompt, TooLong):
                yield WindowAnswer(row, Generation("", cut=False), (), error=str(prompt))
            else:
                yield WindowAnswer(
                    row, next(said), tuple(prompt["times_s"]), prompt["context_cut"] > 0
                )


def _one_ahead(items: Iterator[T]) -> Iterator[T]:
    """The items, each made in a thread while the one before it is used."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = thread.submit(next, items, None)
            yield item


def batched(rows: Iterable[dict[str, Any]], count: int) -> Iterator[list[dict[str, Any]]]:
    """The rows in lists of `count`, the last one shorter."""
    some: list[dict[str, Any]] = []
    for row in rows:
        some.append(row)
        if len(some) == count:
            yield some
            some = []
    if some:
        yield some
