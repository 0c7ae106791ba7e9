"""Write the results of a run: checkpoints, weights, record. A full disk or a missing permission is an error
of one line that says what is safe."""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors import SafetensorError
from transformers import PreTrainedModel, SmolVLMProcessor

from data.errors import UserError, first_line
from data.storage import write_atomically
from train.run.files import RECORD, json_text
from train.run.folder import complete_checkpoints
from train.run.portable import make_portable

OF_THE_MACHINE = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EACCES,
    errno.EROFS,
    errno.EIO,
    errno.ESTALE,
)
"""Errors of disks and permissions, which are no bugs of ours."""
TORCH = re.compile(r"PytorchStreamWriter|file write failed|unexpected pos|cannot be opened")
"""Matches the RuntimeError that torch raises after a failed write."""


@contextmanager
def saving(output: Path, what: str) -> Iterator[None]:
    """A context in which `what` is written into a run folder. A half-written checkpoint is removed,
    because a full disk needs its room.

    Raises:
        UserError: it cannot be written.
    """
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        ours = (
            error.errno in OF_THE_MACHINE
            if isinstance(error, OSError)
            else isinstance(error, SafetensorError) or TORCH.search(str(error)) is not None
        )
        if not ours:
            raise
        whole = [p.name for p in complete_checkpoints(output)]
        if what.startswith("checkpoint-") and what not in whole:
            shutil.rmtree(output / what, ignore_errors=True)
        safe = f"{whole[-1]} is safe" if whole else "no checkpoint was saved before"
        raise UserError(
            f"{output}: {what} could not be written ({first_line(error)}); {safe}; correct that (df -h {output}), "
            f"then the same command with train.resume=true train.output={output} continues"
        ) from None


def save_weights(
    model: PreTrainedModel | PeftModel,
    processor: SmolVLMProcessor,
    output: Path,
    weights: dict[str, torch.Tensor] | None = None,
) -> None:
    """Save adapter or model (safetensors) and processor.

    `weights`: the model's, if it does not hold them itself (`train.loop.fit.gathered_weights`).
    """
    if isinstance(model, PeftModel):  # and no copy of the adapter that training needed
        model.save_pretrained(str(output), state_dict=weights, selected_adapters=["default"])
    else:
        model.save_pretrained(str(output), state_dict=weights)
    processor.save_pretrained(output)
    make_portable(output)


def write_record(records: dict[str, Any], output: Path) -> None:
    """Write `run.json`. It is the last file: a run that has it is finished."""
    write_atomically(output / RECORD, json_text(records))
