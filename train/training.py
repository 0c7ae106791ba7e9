"""From checked keys to a saved run: what the training commands share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from data.errors import this_python
from train.console import say
from train.early_checks import check_also, check_data
from train.run import folder, resume
from train.run.keys import ConfigT

if TYPE_CHECKING:
    from transformers import SmolVLMProcessor

    from data.prepared.dataset import Prepared
    from train.batches.dataset import Sets
    from train.loop.guards import Guarded
    from train.sections import DataKeys


@dataclass(frozen=True)
class Learning:
    """What one training command does differently from another."""

    load_sets: Callable[[Prepared, DataKeys, SmolVLMProcessor], Sets]
    """The samples that are learned from."""
    make_trainer: Callable[..., Guarded]
    """As `train.loop.trainer.make_trainer`."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """What `run.json` also says."""


def train_run(
    config: ConfigT, learning: Callable[[ConfigT, Prepared], Learning]
) -> dict[str, float]:
    """Prepared dataset + checkpoint → run folder with adapter (or model), policy and records.

    Args:
        learning: called with the keys of the run once they and the data are checked, as it imports torch.

    Raises:
        UserError: something is refused, or went wrong in a way that the user can mend.
    """
    # check: refuse before anything is written
    found = folder.inspect_run_folder(config.train, config.model.name)
    if config.train.resume and found.finished:
        return resume.finished_results(found, config.train)
    config, start = resume.restore_keys(config, found)
    dataset = check_data(config.data)
    check_also(config.eval.also)
    from train.model.origin import learned_otherwise, origin_of, taken_over

    origin = None
    if start.checkpoint is None:
        origin = origin_of(config.model, force=config.train.force)
    config = taken_over(config, origin)
    order = resume.check_same(config, start, dataset)

    # these import torch, which takes seconds: only after the keys and the data are checked
    from train.loop.finish import finish
    from train.loop.fit import fit
    from train.loop.loading import check_machine, load, make_trainable
    from train.loop.startup import print_startup_summary
    from train.memory.plan import out_of_memory_explained
    from train.model import tiny_base
    from train.model.load import device_name
    from train.run.lineage import lineage_of
    from train.run.policy import copy_selector, policy_of_dataset, write_policy

    how = learning(config, dataset)
    machine = check_machine(config, start, origin)
    lineage = start.before.went_on_from if start.before is not None else ()
    if origin is not None:
        lineage = lineage_of(origin.run, origin.name)
    with tiny_base.base_checkpoint(machine.base, found, config.train, machine.processes) as base:
        # load
        asked = lineage[0]["asked"] if lineage else {}
        loaded = load(config, base, dataset, machine, start, order, asked, how.load_sets)
        model = make_trainable(
            loaded.model, loaded.processor, config, machine.base.revision, origin
        )

        # train: all checks have passed, so claim the run folder
        with folder.claimed(found, config.train, machine.processes) as output:
            if machine.base.name == "tiny":
                tiny_base.move_into_run(base, model, output, machine.processes)
            state = resume.state_of(
                config, start, dataset, order, machine.base, device_name(), loaded.steps, lineage
            )
            if machine.processes.is_main_process:
                resume.write_start(output, config, state, start, loaded.sets.split.held_ids)
                seen = loaded.processor.image_seq_len
                policy = policy_of_dataset(dataset.manifest, config.data, seen)
                write_policy(policy, output)
                copy_selector(dataset, output)
                if origin is not None and (note := learned_otherwise(origin, policy)):
                    say(note)
            trainer = how.make_trainer(config, model, loaded, machine.precision, output, start.step)
            print_startup_summary(config, trainer, loaded, machine.precision)
            with out_of_memory_explained(loaded.plan, config):
                results = fit(trainer, resume=start.checkpoint)

            # save
            finish(trainer, model, loaded, config, dataset, state, results, output, how.about)
    say(f"saved in {output}; try: {this_python()} scripts/describe.py VIDEO adapter={output}")
    return results
