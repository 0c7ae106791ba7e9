"""From checked keys to a model and samples that are ready to train."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

from accelerate import PartialState
from datasets import Dataset
from peft import PeftModel
from transformers import SmolVLMForConditionalGeneration, SmolVLMProcessor, set_seed

from data.errors import UserError
from data.hub import writable_repo
from data.prepared.dataset import Prepared
from train.batches import dataset as samples
from train.batches.dataset import Sets, with_features
from train.batches.features import open_features, stage_of
from train.batches.frames import frame_size_px, normalise
from train.batches.samplers import Orders, PackSampler, check_packs, orders_of
from train.batches.swapped import Swapped, others_of
from train.config import TrainConfig
from train.early_checks import check_can, check_reachable, note_launch
from train.inference.fingerprint import check_fingerprint
from train.memory.plan import MemoryPlan, check_fits
from train.memory.shapes import check_tokens
from train.model import forward
from train.model.load import Precision, load_model, load_processor, pick_precision, set_trainable
from train.model.origin import Origin
from train.model.sharding import weights_are_sharded
from train.run import resume
from train.run.resume import Start
from train.run.schedule import planned_steps
from train.run.state import Ordering
from train.sections import DataKeys, ModelKeys

LoadSets = Callable[[Prepared, DataKeys, SmolVLMProcessor], Sets]
SWAPPED = frozenset({"blank", "other"})
"""Held-out samples with frames that are not theirs, for what frames are worth."""
WAIT = timedelta(hours=2)
"""Timeout: the other processes wait while the first scores descriptions or pushes a checkpoint."""


@dataclass(frozen=True)
class Machine:
    """The precision, processes and base model of a run."""

    precision: Precision
    processes: PartialState
    base: ModelKeys
    """With the commit of a checkpoint on the Hub as `revision`."""


def check_machine(config: TrainConfig, start: Start, origin: Origin | None) -> Machine:
    """Check that the run can be done on this machine, before any weight is loaded.

    Args:
        origin: the run that it goes on from.

    Raises:
        UserError: a key needs another machine, the checkpoint cannot be downloaded, or the Hub's
            repository cannot be written to.
    """
    precision = pick_precision(config.model.dtype)
    on_gpu = precision.device == "cuda"
    check_can(config, on_gpu=on_gpu)
    note_launch(precision.name, on_gpu=on_gpu)
    base = config.model if origin is None else origin.base(config.model)
    if start.before is not None:  # a resumed run has what it went on from in its checkpoint
        base = base.model_copy(update={"name": start.before.base})
    if base.name != "tiny":
        base = resume.pinned_base(check_reachable(base, force=config.train.force), start)
    check_tokens(config, base)
    processes = PartialState(cpu=not on_gpu, timeout=WAIT)
    if config.hub.target and processes.is_main_process:
        writable_repo(config.hub.target, private=config.hub.private)  # before hours are spent
    return Machine(precision, processes, base)


@dataclass(frozen=True)
class Loaded:
    """The model, samples and samplers of a run."""

    model: SmolVLMForConditionalGeneration
    processor: SmolVLMProcessor
    sets: Sets
    orders: Orders
    steps: int
    """Optimizer steps of the whole run."""
    plan: MemoryPlan | None
    """Its memory plan; None for the tiny model."""
    beside: Mapping[str, HeldOut] = field(default_factory=dict)
    """Held-out samples beside the run's own: `also`, those of `eval.also`; its own with other frames (`SWAPPED`)."""


@dataclass(frozen=True)
class HeldOut:
    """Held-out samples."""

    samples: Dataset | Swapped
    order: PackSampler | None
    """With `train.pack`."""


def load(
    config: TrainConfig,
    checkpoint: ModelKeys,
    dataset: Prepared,
    machine: Machine,
    start: Start,
    order: Ordering,
    asked: Mapping[str, Any],
    load_sets: LoadSets,
) -> Loaded:
    """Load processor, samples and model of a run.

    Args:
        checkpoint: where the base model is read from.
        asked: keys of `data` with which the run was asked that this one goes on from; held-out samples of its data
            are asked so too.
        load_sets: makes the samples.

    Raises:
        UserError: the dataset has no usable sample, there is no such checkpoint, or it does not fit
            this machine.
    """
    precision = machine.precision
    processor = load_processor(checkpoint)
    sets = load_sets(dataset, config.data, processor)
    plan = None
    if machine.base.name != "tiny":
        plan = check_fits(config, checkpoint, sets.survey, precision)
    orders = orders_of(config.train, config.data, sets, order)
    steps = planned_steps(config.train, config.optim, orders.steps_per_epoch, start)
    set_seed(config.train.seed)  # adapter weights are drawn before the trainer sets the seed
    model = load_model(checkpoint, config.train.method, precision)
    if config.data.features:
        stage = stage_of(config.train.method, config.lora, config.optim)
        stored = open_features(stage, dataset, model, processor, precision.compute, sets.starts)
        sets = with_features(sets, stored, processor, config.data)
    also = held_out_of(config, asked, processor)
    beside = {"also": also} if also is not None else {}
    held = sets.evaluation
    # pairs of answers do not say of which video they are
    if config.eval.worth and held is not None and "video_id" in held.column_names:
        beside |= with_other_frames(held, orders.evaluation, frame_size_px(processor))
    return Loaded(model, processor, sets, orders, steps, plan, beside)


def held_out_of(
    config: TrainConfig, asked: Mapping[str, Any], processor: SmolVLMProcessor
) -> HeldOut | None:
    """The held-out samples of `eval.also`, asked as `asked` says, else as those of the run; None if it is null.

    Raises:
        UserError: there is no such dataset, no sample of it is held out, or one is longer than a pack.
    """
    if config.eval.also is None:
        return None
    changed = {**asked, "path": config.eval.also, "stream": False, "marks": None}
    keys = config.data.model_copy(update=changed)
    sets = samples.load_sets(Prepared.open(config.eval.also), keys, processor)
    if sets.evaluation is None:
        raise UserError(f"eval.also={config.eval.also}: no video of it is held out")
    if not config.train.pack:
        return HeldOut(sets.evaluation, None)
    check_packs(sets.eval_tokens, config.train.pack_tokens)
    packs = PackSampler(sets.eval_tokens, config.train.pack_tokens, shuffle=False)
    return HeldOut(sets.evaluation, packs)


def with_other_frames(
    evaluation: Dataset, order: PackSampler | None, size_px: int
) -> dict[str, HeldOut]:
    """The held-out samples with grey frames, and if there are several videos with those of another one."""
    others = others_of(evaluation.with_format(None)["video_id"])
    found = {"blank": HeldOut(Swapped(evaluation, None, size_px), order)}
    if any(i != other for i, other in enumerate(others)):
        found["other"] = HeldOut(Swapped(evaluation, others, size_px), order)
    assert found.keys() <= SWAPPED
    return found


def make_trainable(
    model: SmolVLMForConditionalGeneration,
    processor: SmolVLMProcessor,
    config: TrainConfig,
    revision: str | None = None,
    origin: Origin | None = None,
) -> SmolVLMForConditionalGeneration | PeftModel:
    """Freeze what does not train, attach the adapter (which remembers the base's `revision`; that of `origin` goes
    on), and install the forward pass that takes frames. Returns the model to train.

    Raises:
        UserError: the model or adapter that training goes on from is not what was saved.
    """
    went_on = origin.run if origin is not None and origin.run.is_adapter else None
    trained = set_trainable(
        model, config.train.method, config.lora, config.optim, revision, went_on
    )
    if origin is not None and not weights_are_sharded():
        if config.train.method != "qlora":  # 4-bit weights are on the GPU already
            trained.to(PartialState().device)
        check_fingerprint(
            origin.run, trained, processor, named="model.name", anyway="train.force=true"
        )
    scale = partial(normalise, processor=processor)
    forward.install(model, scale, frames_at_once=config.train.vision_batch)
    return trained
