"""What a run's model makes of one made-up video, kept with the run and asked again when it is loaded.

A model can be put together wrongly without any error: another base than the adapter was trained on,
weights that a library no longer finds, pictures that no longer reach the language model. Then it talks,
and says other things. So the first words of its own answer are kept, with what it held likely at each.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import PreTrainedModel, SmolVLMProcessor

from data.errors import UserError
from data.storage import write_atomically
from train.batches.encode import Exchange, encode_text, frame_size_px, instruction, normalise
from train.model import forward
from train.run.files import FINGERPRINT, json_text, read_json
from train.run.saved import SavedRun, policy_of
from train.sections import DataKeys

WORDS, LIKELY = 8, 5
LIMIT = 0.4
"""Of `distance`. Measured on SmolLM2-135M, five prompts: the same weights in bf16 0.02 at most, in nf4 0.25;
with noise of a fifth of their size 0.33 to 0.70, with a lost head 0.48 to 0.91."""


@dataclass(frozen=True)
class Fingerprint:
    """An answer's first tokens, and the likeliest ones at each place."""

    prompt_sha256: str
    answer: tuple[int, ...]
    """(W,) token ids, each the likeliest after those before."""
    likely: tuple[tuple[int, ...], ...]
    """(W, K) token ids, the likeliest first."""
    probabilities: tuple[tuple[float, ...], ...]
    """(W, K)."""
    transformers: str = ""


def take_fingerprint(
    model: PreTrainedModel | PeftModel, processor: SmolVLMProcessor, data: DataKeys
) -> Fingerprint:
    """Of a model in whose precision autocast may have a say; in evaluation mode afterwards."""
    ids, pictures = _prompt(processor, data), _pictures(model, processor)
    answer: list[int] = []
    for _ in range(WORDS):
        answer.append(int(_predicted(model, pictures, [*ids, *answer], 1).argmax()))
    seen = _predicted(model, pictures, [*ids, *answer[:-1]], WORDS)  # (W, V)
    top = seen.topk(LIKELY, dim=1)
    return Fingerprint(
        _sha256(ids),
        tuple(answer),
        tuple(map(tuple, top.indices.tolist())),
        tuple(tuple(round(p, 5) for p in row) for row in top.values.tolist()),
        version("transformers"),
    )


def distance(
    kept: Fingerprint,
    model: PreTrainedModel | PeftModel,
    processor: SmolVLMProcessor,
    data: DataKeys,
) -> float:
    """Total variation between what is held likely now and what was, over the kept tokens and all others
    as one, mean of all places. 0: as it was; 1: nothing in common. NaN where the model gives no numbers."""
    ids = [*_prompt(processor, data), *kept.answer[:-1]]
    seen = _predicted(model, _pictures(model, processor), ids, WORDS)  # (W, V)
    now = seen.gather(1, torch.tensor(kept.likely))  # (W, K)
    more = now - torch.tensor(kept.probabilities)
    return float((more.abs().sum(dim=1) + more.sum(dim=1).abs()).mean() / 2)


def check_fingerprint(
    run: SavedRun, model: PreTrainedModel | PeftModel, processor: SmolVLMProcessor
) -> None:
    """Nothing where the run keeps no fingerprint, or is taken as it is.

    Raises:
        UserError: the model is not the one that was saved.
    """
    folder = run.folder
    kept = read_fingerprint(folder)
    if kept is None or run.force:
        return
    data = policy_of(folder).ask  # what it learned, whatever it is to be asked now
    if _sha256(_prompt(processor, data)) != kept.prompt_sha256:
        raise UserError(
            f"adapter={folder}: its prompts are made otherwise here (transformers {version('transformers')}, saved with "
            f"{kept.transformers}): it would be asked what it never learned; force=true asks all the same"
        )
    found = distance(kept, model, processor, data)
    if found > LIMIT:  # what gives no numbers at all is told where it is asked
        raise UserError(
            f"adapter={folder}: the model does not say what it said when it was saved ({found:.2f} of its predictions "
            f"differ, {LIMIT} may): another base than it was trained on, or a library (transformers {version('transformers')}, "
            f"saved with {kept.transformers}) that loads it otherwise; force=true goes on all the same"
        )


def write_fingerprint(found: Fingerprint, folder: Path) -> None:
    write_atomically(folder / FINGERPRINT, json_text(asdict(found), indent=None))


def read_fingerprint(folder: Path) -> Fingerprint | None:
    """
    Raises:
        UserError: the file is damaged.
    """
    file = folder / FINGERPRINT
    if not file.is_file():
        return None
    told = read_json(file)
    try:
        found = Fingerprint(**told)
        shape = torch.tensor(found.likely).shape, torch.tensor(found.probabilities).shape
        if shape != ((WORDS, LIKELY), (WORDS, LIKELY)) or len(found.answer) != WORDS:
            raise ValueError
    except (TypeError, ValueError):
        raise UserError(f"{file}: not a fingerprint of this version; delete it to go on") from None
    return found


def _prompt(processor: SmolVLMProcessor, data: DataKeys) -> list[int]:
    """Two frames, a second apart, and the run's own words."""
    talk = [Exchange(instruction("fingerprint", data), None)]
    return encode_text(talk, [0.0, 1.0], 2.0, processor, data.system or "")[0]


def _frames(processor: SmolVLMProcessor) -> torch.Tensor:
    """(2, 3, S, S) uint8: a coloured slope, and the same with a bright square in it."""
    side = frame_size_px(processor)
    slope = torch.linspace(0, 255, side)
    picture = torch.stack(
        [slope.expand(side, side), slope.expand(side, side).T, slope.flip(0).expand(side, side)]
    )
    other = picture.clone()
    other[:, side // 4 : side // 2, side // 4 : side // 2] = 255
    return torch.stack([picture, other]).round().to(torch.uint8)


@torch.no_grad()
def _pictures(model: PreTrainedModel | PeftModel, processor: SmolVLMProcessor) -> Any:
    """The frames as the language model gets them."""
    base: Any = model.get_base_model() if isinstance(model, PeftModel) else model
    device = base.lm_head.weight.device
    model.eval()
    base.model.vision_model.to(device)  # training on features leaves it out
    frames = _frames(processor).to(device)
    scale = partial(normalise, processor=processor)
    return forward.as_mm_outputs(
        base.model.connector(forward.encode_frames(base, scale, frames, len(frames)))
    )


@torch.no_grad()
def _predicted(
    model: PreTrainedModel | PeftModel, pictures: Any, ids: list[int], places: int
) -> torch.Tensor:
    """(places, V) probabilities of the next token at the last places of `ids`, fp32 on the CPU."""
    given = torch.tensor([ids], device=pictures["image"].pooler_output.device)  # (1, T)
    out = model(
        input_ids=given,
        attention_mask=torch.ones_like(given),
        use_cache=False,
        logits_to_keep=places,
        **{forward.FEATURES: pictures},
    )
    logits: torch.Tensor = out.logits[0]  # (places, V)
    return logits.float().softmax(dim=-1).cpu()


def _sha256(ids: list[int]) -> str:
    return hashlib.sha256(" ".join(map(str, ids)).encode()).hexdigest()
