"""Load an adapter onto its base model, completely or not at all."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from peft import LoraConfig, PeftModel, get_peft_model_state_dict
from safetensors import safe_open
from transformers import PreTrainedModel

from data.errors import UserError, first_line
from train.run.files import FINGERPRINT
from train.run.saved import SavedRun


def with_adapter(
    base: PreTrainedModel, run: SavedRun, trainable: LoraConfig | None = None
) -> PeftModel:
    """The base model with the run's adapter; with `trainable`, which describes the same adapter, it goes on learning.

    Raises:
        UserError: the adapter was made for another model, or only a part of its weights fits.
    """
    _check_base(run)
    try:
        model = PeftModel.from_pretrained(
            base, str(run.folder), is_trainable=trainable is not None, config=trainable
        )
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"adapter={run.folder}: does not fit model.name={run.base.name} ({first_line(error)})"
        ) from None
    with safe_open(run.folder / "adapter_model.safetensors", "pt") as weights:
        there = set(weights.keys())
    _check_keys(there, set(get_peft_model_state_dict(model)), run)
    return model


def base_of(model: PreTrainedModel | PeftModel) -> Any:
    """The model under its adapter; a model without one itself."""
    return model.get_base_model() if isinstance(model, PeftModel) else model


def _check_base(run: SavedRun) -> None:
    """Check that the adapter was trained on this base model. If the run has a fingerprint, the
    fingerprint check decides instead, later, by the model's output."""
    recorded = run.trained_on
    if (
        recorded is None
        or recorded == run.base.name
        or run.force
        or (run.folder / FINGERPRINT).is_file()
    ):
        return
    raise UserError(
        f"adapter={run.folder}: was trained on {recorded}, not on model.name={run.base.name}; force=true tries it anyway"
    )


def _check_keys(there: Collection[str], wanted: Collection[str], run: SavedRun) -> None:
    """Check that the adapter's keys are those of the model. peft only warns of keys that do not match
    and leaves their places empty, so that the base model would answer.

    Raises:
        UserError: they are not; the message names a renaming that would fit.
    """
    foreign, empty = sorted(set(there) - set(wanted)), sorted(set(wanted) - set(there))
    if not foreign and not empty:
        return
    fits = renaming(foreign, empty)
    remedy = (
        f"renaming {fits[0]}… to {fits[1]}… in its keys would fit"
        if fits is not None
        else f"its keys are named like {(foreign or ['nothing'])[0]}, the model's like {(empty or ['nothing else'])[0]}"
    )
    raise UserError(
        f"adapter={run.folder}: {len(there) - len(foreign)} of its {len(there)} weights have a place in "
        f"model.name={run.base.name}, and {len(empty)} places stay empty; {remedy}"
    )


def renaming(foreign: list[str], empty: list[str]) -> tuple[str, str] | None:
    """(old prefix, new prefix) that turns every `foreign` key into an `empty` one; None if there is none."""
    if not foreign:
        return None
    first = foreign[0]
    for place in sorted(empty, key=lambda key: -_shared_end(first, key)):
        end = _shared_end(first, place)
        old, new = first[: len(first) - end], place[: len(place) - end]
        renamed = {new + key.removeprefix(old) for key in foreign if key.startswith(old)}
        if len(renamed) == len(foreign) and renamed <= set(empty):
            return old, new
    return None


def _shared_end(a: str, b: str) -> int:
    """Length of the common end of two keys, in whole parts between dots."""
    count = 0
    for x, y in zip(reversed(a.split(".")), reversed(b.split("."))):
        if x != y:
            break
        count += len(x) + 1
    return min(count, len(a), len(b))
