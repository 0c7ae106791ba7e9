"""Run the training and report its results."""

from __future__ import annotations

from pathlib import Path

import torch

from train.console import say
from train.loop.callbacks import best_of
from train.loop.guards import Guarded
from train.run.folder import step_of


def fit(trainer: Guarded, *, resume: Path | None) -> dict[str, float]:
    """Train, from checkpoint `resume` if it is given. Returns the steps and the held-out completion loss
    before and after; the latter is that of the weights that are kept."""
    trainer.train(resume_from_checkpoint=None if resume is None else str(resume))
    last = trainer.state.global_step
    results: dict[str, float] = {"steps": last}
    if trainer.eval_dataset is None:
        return results
    kept = last
    if trainer.args.load_best_model_at_end:
        kept = _kept_step(trainer)
        results["best_step"] = kept
    seen = {
        row["step"]: row["eval_loss"] for row in trainer.state.log_history if "eval_loss" in row
    }
    before = seen.get(0)
    after = seen[kept] if kept in seen else trainer.evaluate()["eval_loss"]
    if before is not None:
        results["eval_loss_before"] = before
    results["eval_loss_after"] = after
    say(
        f"held-out {trainer.loss_name}: {f'{before:.3f} before, ' if before is not None else ''}{after:.3f} after"
    )
    results |= _worth(trainer)
    return results


def _worth(trainer: Guarded) -> dict[str, float]:
    """What frames were worth before the first step and after the last, where that was measured."""
    worth = {r["step"]: r["eval_worth"] for r in trainer.state.log_history if "eval_worth" in r}
    names = {0: "frames_worth_before", trainer.state.global_step: "frames_worth_after"}
    found = {name: worth[step] for step, name in names.items() if step in worth}
    if found:
        each = ", ".join(f"{value:.3f} {name.split('_')[-1]}" for name, value in found.items())
        say(f"held-out frames are worth, in nats a token: {each}")
    return found


def _kept_step(trainer: Guarded) -> int:
    """The step whose weights the trainer has loaded as the best. Prints it, and whether a better step has
    no checkpoint any more."""
    state, name = trainer.state, str(trainer.args.metric_for_best_model)
    greater = bool(trainer.args.greater_is_better)
    if state.best_model_checkpoint is None:
        say(f"note: no checkpoint has an {name}; the last step, {state.global_step}, is kept")
        return int(state.global_step)
    kept = step_of(Path(state.best_model_checkpoint))
    say(f"step {kept} is the best by {name} ({state.best_metric:.4f}) and is kept")
    best = best_of(state.log_history, name, greater=greater, among=None)
    if best is not None and best.value != state.best_metric:
        say(
            f"note: step {best.step} was better ({best.value:.4f}), but there is no checkpoint of it"
        )
    return kept


def gathered_weights(trainer: Guarded) -> dict[str, torch.Tensor] | None:
    """All weights of a model that is sharded over several devices. All processes must call it together.

    Returns None if the model is not sharded and holds them already.
    """
    if not (trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled):
        return None
    return trainer.accelerator.get_state_dict(trainer.model_wrapped)
