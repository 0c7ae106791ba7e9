"""Fine-tune SmolVLM2 to describe videos.

accelerate launch train/sft.py recipe=qlora
accelerate launch train/sft.py recipe=lora data.path=prepared/clips optim.lr=2e-4
accelerate launch train/sft.py train.resume=true train.output=runs/clips
"""

import sys
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

if not __package__:  # run as a script: `data` and `train` must be this clone's, from any folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from data.command import command
from data.config import this_python
from train.config import TrainConfig
from train.console import say


def main(config: TrainConfig) -> dict[str, Any]:
    """Prepared dataset + checkpoint → run folder with adapter (or model), policy and records."""
    # check: refuse before torch is imported, and before anything is written
    from train.early_checks import check_data
    from train.run import folder, resume

    found = folder.look(config)
    if config.train.resume and found.finished:
        return resume.finished(found, config)
    config, start = resume.start_of(config, found)
    dataset = check_data(config.data)
    order = resume.check_same(config, start, dataset)

    from accelerate import PartialState
    from transformers import set_seed

    from data.hub import writable_repo
    from train.inference import fingerprint
    from train.model import forward
    from train.model import tiny_base
    from train.early_checks import check_can, check_reachable, note_launch
    from train.batches.dataset import load_sets, with_features
    from train.batches.encode import normalise
    from train.batches.features import open_features
    from train.loop.fit import fit, whole_weights
    from train.hub import push
    from train.loop.startup import introduce
    from train.model.load import (
        device_name,
        load_model,
        load_processor,
        pick_precision,
        set_trainable,
    )
    from train.batches.samplers import orders_of
    from train.memory.plan import check_fits, out_of_memory_explained
    from train.loop.record import record
    from train.run.saving import save_weights, saving, write_policy, write_record
    from train.run.schedule import planned_steps
    from train.loop.trainer import make_trainer

    precision = pick_precision(config.model.dtype)
    check_can(config, on_gpu=precision.device == "cuda")
    note_launch(precision.name, on_gpu=precision.device == "cuda")
    base = config.model
    if base.name != "tiny":
        base = check_reachable(base, force=config.train.force)
        base = resume.base_of(base, start)
    # the others wait while the first process describes held-out videos or pushes a checkpoint
    processes = PartialState(cpu=precision.device == "cpu", timeout=timedelta(hours=2))
    if config.hub.target and processes.is_main_process:
        writable_repo(config.hub.target, private=config.hub.private)  # before hours are spent

    # load
    with tiny_base.checkpoint_of(base, found, config, processes) as checkpoint:
        processor = load_processor(checkpoint)
        sets = load_sets(dataset, config.data, processor)
        planned = None
        if base.name != "tiny":
            planned = check_fits(config, checkpoint, sets.survey, precision)
        orders = orders_of(config, sets, order)
        steps = planned_steps(config, orders.steps_per_epoch, start)
        set_seed(config.train.seed)  # new adapter weights are drawn before the trainer sets it
        model = load_model(checkpoint, config.train.method, precision)
        if config.data.features:
            stored = open_features(
                config, dataset, model, processor, precision.compute, sets.starts
            )
            sets = with_features(sets, stored, processor, config.data)

        # train: nothing can refuse any more, so the folder becomes ours
        with folder.claimed(found, config, processes) as output:
            if base.name == "tiny":
                tiny_base.settle(checkpoint, model, output, processes)
            state = resume.state_of(config, start, dataset, order, base, device_name(), steps)
            if processes.is_main_process:
                resume.begin(output, config, state, start, sets.split.held_ids)
                write_policy(dataset.manifest["policy"], config.data, output)
            use_cache = bool(model.config.use_cache)
            trained = set_trainable(
                model, config.train.method, config.lora, config.optim, base.revision
            )
            scale = partial(normalise, processor=processor)
            forward.install(model, scale, frames_at_once=config.train.frames_at_once)
            trainer = make_trainer(
                config,
                trained,
                processor,
                sets,
                orders,
                precision,
                output,
                from_step=start.step,
                use_cache=use_cache,
            )
            introduce(config, trainer, sets, precision)
            if planned is not None:
                say(f"plan: {planned.line()}")
            with out_of_memory_explained(planned, config):
                results = fit(trainer, resume=start.checkpoint)

            # save
            weights = whole_weights(trainer)
            if trainer.is_world_process_zero():
                records = record(config, dataset, state, sets, results)
                with saving(output, "the result"):
                    save_weights(trained, processor, output, weights)
                    if weights is None:  # in pieces on several devices one cannot ask it alone
                        with trainer.accelerator.autocast():
                            mark = fingerprint.take(trained, processor, config.data)
                        fingerprint.write(mark, output)
                    write_record(records, output)
                push.finish(output, config.hub)
            trainer.end()
    say(f"saved in {output}; try: {this_python()} scripts/describe.py VIDEO adapter={output}")
    return results


if __name__ == "__main__":
    command(TrainConfig, main, __doc__)
