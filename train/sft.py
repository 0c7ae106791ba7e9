"""Fine-tune SmolVLM2 to describe videos.

accelerate launch train/sft.py recipe=qlora
accelerate launch train/sft.py recipe=lora data.path=prepared/clips optim.lr=2e-4
"""

import sys
from pathlib import Path

if not __package__:  # run as a script: `data` and `train` must be this clone's, from any folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from data.config import command, this_python
from train.config import TrainConfig


def main(config: TrainConfig) -> dict[str, float]:
    """Prepared dataset + checkpoint → run folder with adapter (or model), policy and records."""
    from train.checks import check_data, check_reachable

    manifest = check_data(config.data)
    import warnings

    # the library warns of its own old names, which TRL still needs
    warnings.filterwarnings(
        "ignore", message=r".*gradient_checkpointing.* is deprecated", category=FutureWarning
    )
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list
    from transformers import set_seed

    from data.shards import manifest_hash, read_dataset
    from train import run, save
    from train.dataset import encoded, split, survey
    from train.model import (
        describe_trainable,
        load_model,
        load_processor,
        pick_precision,
        set_trainable,
    )
    from train.trainer import make_trainer, steps_per_epoch

    output = run.run_folder(config)
    precision = pick_precision(config.model.dtype)
    if config.model.name != "tiny":
        check_reachable(config.model, force=config.train.force)
    processes = PartialState(cpu=precision.device == "cpu")
    output = Path(broadcast_object_list([str(output)])[0])  # one clock names it for all
    with processes.main_process_first():
        checkpoint = save.resolve_base(config, output)
        if processes.is_main_process:
            run.start(config, output)
    run.set_up_tracker(config, output)

    processor = load_processor(checkpoint)
    train_rows, eval_rows = split(read_dataset(config.data.path), config.data.eval_share)
    found = survey(train_rows, processor, config.data, "training")
    train_rows = train_rows.select(found.usable)
    if eval_rows is not None:
        held = survey(eval_rows, processor, config.data, "evaluation")
        eval_rows = eval_rows.select(held.usable)

    set_seed(config.train.seed)  # new adapter weights are drawn before the trainer sets it
    model = load_model(checkpoint, config.train.method, precision)
    trained = set_trainable(model, config.train.method, config.lora, config.optim)
    train_set = encoded(train_rows, processor, config.data)
    eval_set = None if eval_rows is None else encoded(eval_rows, processor, config.data)
    trainer = make_trainer(config, trained, processor, train_set, eval_set, precision, output)

    first = train_set[0]
    run.say(run.show_example(first["input_ids"], first["labels"], processor))
    for line in found.lines(config.data):
        run.say(line)
    run.say(f"{len(eval_rows) if eval_rows is not None else 0} samples held out")
    run.say(describe_trainable(trained))
    devices = trainer.accelerator.num_processes
    batch, accumulate = config.train.batch, config.train.accumulate
    per_epoch = steps_per_epoch(config, len(train_rows), devices)
    run.say(
        f"batch {batch} × accumulate {accumulate} × {devices} device{'s' * (devices > 1)} = "
        f"{batch * accumulate * devices} videos/step, {per_epoch} steps/epoch, "
        f"{trainer.args.max_steps} steps; {precision.compute} on {precision.device}"
    )

    before = trainer.evaluate() if eval_set is not None and not config.train.resume else {}
    trainer.train(resume_from_checkpoint=config.train.resume)
    after = trainer.evaluate() if eval_set is not None else {}
    results: dict[str, float] = {"steps": trainer.state.global_step}
    for name, metrics in (("before", before), ("after", after)):
        if "eval_loss" in metrics:
            results[f"eval_loss_{name}"] = metrics["eval_loss"]
    if trainer.is_world_process_zero():
        records = run.record(config, manifest, manifest_hash(config.data.path), results)
        save.save_run(trained, processor, manifest["policy"], config, records, output)
    if len(results) == 3:
        run.say(
            f"held-out answer loss: {results['eval_loss_before']:.3f} before, {results['eval_loss_after']:.3f} after"
        )
    run.say(f"saved in {output}; try: {this_python()} scripts/describe.py VIDEO adapter={output}")
    return results


if __name__ == "__main__":
    command(TrainConfig, main, __doc__)
