"""Fine-tune SmolVLM2 to describe videos.

accelerate launch train/sft.py recipe=qlora
accelerate launch train/sft.py recipe=lora data.path=prepared/clips optim.lr=2e-4
"""

import sys
from datetime import timedelta
from functools import partial
from pathlib import Path

if not __package__:  # run as a script: `data` and `train` must be this clone's, from any folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from data.config import command, this_python
from train.config import TrainConfig
from train.messages import say


def main(config: TrainConfig) -> dict[str, float]:
    """Prepared dataset + checkpoint → run folder with adapter (or model), policy and records."""
    from train.checks import check_data, check_reachable

    manifest = check_data(config.data)

    from accelerate import PartialState
    from transformers import set_seed

    from data.hub import writable_repo
    from data.shards import manifest_hash
    from train import forward, run, save
    from train.dataset import load_sets, with_features
    from train.encode import normalise
    from train.features import open_features
    from train.hub import push
    from train.model import load_model, load_processor, pick_precision, set_trainable
    from train.introduce import introduce
    from train.plan import check_fits, out_of_memory_explained
    from train.trainer import fit, make_trainer, whole_weights

    precision = pick_precision(config.model.dtype)
    if config.model.name != "tiny":
        check_reachable(config.model, force=config.train.force)
    # the others wait while the first process describes held-out videos or pushes a checkpoint
    processes = PartialState(cpu=precision.device == "cpu", timeout=timedelta(hours=2))
    if config.hub.target and processes.is_main_process:
        writable_repo(config.hub.target, private=config.hub.private)  # before hours are spent
    output = run.open_folder(config, processes)
    run.set_up_tracker(config, output)

    checkpoint = save.resolve_base(config, output, processes)
    processor = load_processor(checkpoint)
    sets = load_sets(config.data, processor)
    planned = None
    if config.model.name != "tiny":
        planned = check_fits(config, checkpoint, sets.survey, precision)
    set_seed(config.train.seed)  # new adapter weights are drawn before the trainer sets it
    model = load_model(checkpoint, config.train.method, precision)
    if config.data.features:
        stored = open_features(config, model, processor, precision.compute, sets.starts)
        sets = with_features(sets, stored, processor, config.data)
    trained = set_trainable(model, config.train.method, config.lora, config.optim)
    forward.install(
        model, partial(normalise, processor=processor), frames_at_once=config.train.frames_at_once
    )
    trainer = make_trainer(config, trained, processor, sets, precision, output)
    introduce(config, trainer, sets, precision)
    if planned is not None:
        say(f"plan: {planned.line()}")

    with out_of_memory_explained(planned, config):
        resumed = run.whole_checkpoints(output)[-1] if config.train.resume else None
        results = fit(trainer, resume=resumed)
    weights = whole_weights(trainer)
    if trainer.is_world_process_zero():
        records = run.record(config, manifest, manifest_hash(config.data.path), results)
        save.save_run(trained, processor, manifest["policy"], config, records, output, weights)
        push.finish(output, config.hub)
    say(f"saved in {output}; try: {this_python()} scripts/describe.py VIDEO adapter={output}")
    return results


if __name__ == "__main__":
    command(TrainConfig, main, __doc__)
