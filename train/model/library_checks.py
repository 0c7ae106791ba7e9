"""Checks, at import, of library internals that we rely on although the libraries do not promise them.

If a library renames a method, our override of it is never called and nothing fails: the run continues
without its guard, its sample order or its sums. Each name is listed here with the parameters we read.
"""

from __future__ import annotations

import inspect
from importlib.metadata import version
from typing import Any

from data.errors import UserError

TRAINER = {
    "_clip_grad_norm": ("model",),
    "_get_train_sampler": ("train_dataset",),
    "_get_eval_sampler": ("eval_dataset",),
    "_get_dataloader": ("dataset", "is_training"),
    "_save_checkpoint": ("model", "trial"),
    "_save": ("output_dir", "state_dict"),
    "set_initial_training_values": (),
    "get_decay_parameter_names": ("model",),
    "evaluation_loop": ("metric_key_prefix",),
    "prediction_step": ("model", "inputs", "prediction_loss_only", "ignore_keys"),
    "compute_loss": ("model", "inputs", "return_outputs", "num_items_in_batch"),
}
"""Methods that our trainers override (`train.loop.guards`, `train.loop.trainer`), with their parameters."""


def check_overrides(owner: type, names: dict[str, tuple[str, ...]], package: str) -> None:
    """Check that a class has these methods with these parameters.

    Raises:
        UserError: the class has no such method, or it takes no such parameter.
    """
    for name, parameters in names.items():
        method = getattr(owner, name, None)
        known = () if method is None else inspect.signature(method).parameters
        if method is None or any(p not in known for p in parameters):
            raise _changed(f"{owner.__name__}.{name}({', '.join(parameters)})", package)


def set_known(thing: Any, name: str, value: object, package: str) -> None:
    """Set an attribute that exists already. Setting a wrong name would silently change nothing.

    Raises:
        UserError: it does not exist.
    """
    if not hasattr(thing, name):
        raise _changed(f"{type(thing).__name__}.{name}", package)
    setattr(thing, name, value)


def _changed(what: str, package: str) -> UserError:
    return UserError(
        f"{package} {version(package)} has no {what}, which is relied on here; install a version that "
        "pyproject.toml allows"
    )
