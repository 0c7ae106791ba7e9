"""The checkpoint that a run's base model is loaded from; `model.name=tiny` is built first."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from peft import PeftModel
from transformers import PreTrainedModel, SmolVLMForConditionalGeneration

from train.model.adapter import base_of
from train.run.files import BASE
from train.run.folder import RunFolder
from train.sections import ModelKeys, TrainKeys


@contextmanager
def base_checkpoint(
    base: ModelKeys, found: RunFolder, keys: TrainKeys, processes: PartialState
) -> Iterator[ModelKeys]:
    """The model keys from which the base model can be loaded. `model.name=tiny` is built in a temporary
    folder, as the run folder is not claimed yet, and is then read like any checkpoint folder."""
    if base.name != "tiny":
        yield base
        return
    there = found.path / BASE if found.path is not None else None
    if keys.resume and there is not None and there.is_dir():
        yield base.model_copy(update={"name": str(there)})
        return
    with TemporaryDirectory() as scratch:
        (place,) = broadcast_object_list([scratch])
        if processes.is_main_process:
            from train.model import tiny

            tiny.build(Path(place), seed=keys.seed)
        processes.wait_for_everyone()
        yield base.model_copy(update={"name": place})


def move_into_run(
    checkpoint: ModelKeys,
    model: SmolVLMForConditionalGeneration | PeftModel,
    output: Path,
    processes: PartialState,
) -> None:
    """Copy the tiny model into its run folder, where its adapter will look for it."""
    inside = output / BASE
    if processes.is_main_process and Path(checkpoint.name) != inside:
        shutil.copytree(checkpoint.name, inside, dirs_exist_ok=True)
    processes.wait_for_everyone()
    if isinstance(model, PeftModel):
        model.active_peft_config.base_model_name_or_path = str(inside)
    base = base_of(model)
    assert isinstance(base, PreTrainedModel)
    base.name_or_path = str(inside)
