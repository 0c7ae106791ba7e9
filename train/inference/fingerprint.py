"""Predictions of a run's model on one synthetic video: stored with the run, compared when it is loaded.

A model can be assembled wrongly without any error: on another base than the adapter was trained on, with
weights that a library no longer finds, or with images that no longer reach the language model. It then
still generates text, but other text. So the first tokens of its greedy answer are stored, with the most
probable tokens at each position.
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
from train.batches.encode import Exchange, encode_text, instruction
from train.batches.frames import frame_size_px, normalise
from train.model import forward
from train.model.adapter import base_of
from train.run.files import FINGERPRINT, json_text, read_json
from train.run.saved import SavedRun, policy_of
from train.sections import DataKeys

WORDS, LIKELY = 8, 5
LIMIT = 0.4
"""Largest `distance` accepted. Measured on SmolLM2-135M with five prompts: the same weights give at most
0.02 in bf16 and 0.25 in nf4; with noise of a fifth of their size 0.33 to 0.70, with a lost head 0.48 to
0.91."""


@dataclass(frozen=True)
class Fingerprint:
    """The first W tokens of an answer, and the K most probable tokens at each of these positions."""

    prompt_sha256: str
    answer: tuple[int, ...]
    """(W,) token ids, by greedy decoding."""
    likely: tuple[tuple[int, ...], ...]
    """(W, K) token ids, the most probable first."""
    probabilities: tuple[tuple[float, ...], ...]
    """(W, K) probabilities of `likely`."""
    transformers: str = ""


def take_fingerprint(
    model: PreTrainedModel | PeftModel, processor: SmolVLMProcessor, data: DataKeys
) -> Fingerprint:
    """The fingerprint of a model, whose precision autocast may set. Leaves the model in evaluation mode."""
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
    """Total variation between the next-token probabilities now and in the fingerprint, averaged over
    positions. All tokens outside the fingerprint count as one. 0: the same; 1: nothing in common;
    NaN: the model's logits are NaN."""
    ids = [*_prompt(processor, data), *kept.answer[:-1]]
    seen = _predicted(model, _pictures(model, processor), ids, WORDS)  # (W, V)
    now = seen.gather(1, torch.tensor(kept.likely))  # (W, K)
    more = now - torch.tensor(kept.probabilities)
    return float((more.abs().sum(dim=1) + more.sum(dim=1).abs()).mean() / 2)


def check_fingerprint(
    run: SavedRun,
    model: PreTrainedModel | PeftModel,
    processor: SmolVLMProcessor,
    *,
    named: str = "adapter",
    anyway: str = "force=true",
) -> None:
    """Compare a loaded model with the run's fingerprint. Does nothing if there is none, or with `force`. `named` and
    `anyway` are the keys of the command that name the run and that use it all the same.

    Raises:
        UserError: the model is not the one that was saved.
    """
    folder = run.folder
    kept = read_fingerprint(folder)
    if kept is None or run.force:
        return
    data = policy_of(folder).ask  # the prompt of its training, whatever the prompt now
    if _sha256(_prompt(processor, data)) != kept.prompt_sha256:
        raise UserError(
            f"{named}={folder}: its prompts are made otherwise here (transformers {version('transformers')}, saved with "
            f"{kept.transformers}), so they are not those of its training; {anyway} uses it all the same"
        )
    found = distance(kept, model, processor, data)
    if found > LIMIT:  # NaN passes: generation reports it
        raise UserError(
            f"{named}={folder}: the model does not say what it said when it was saved (distance of predictions "
            f"{found:.2f}, limit {LIMIT}): its base model is not that of its training, or transformers "
            f"{version('transformers')} (saved with {kept.transformers}) loads it differently; {anyway} uses it "
            "all the same"
        )


def write_fingerprint(found: Fingerprint, folder: Path) -> None:
    write_atomically(folder / FINGERPRINT, json_text(asdict(found), indent=None))


def read_fingerprint(folder: Path) -> Fingerprint | None:
    """The fingerprint in a run folder; None if there is none.

    Raises:
        UserError: the file is damaged.
    """
    file = folder / FINGERPRINT
    if not file.is_file():
        return None
    stored = read_json(file)
    try:
        found = Fingerprint(**stored)
        shape = torch.tensor(found.likely).shape, torch.tensor(found.probabilities).shape
        if shape != ((WORDS, LIKELY), (WORDS, LIKELY)) or len(found.answer) != WORDS:
            raise ValueError
    except (TypeError, ValueError):
        raise UserError(f"{file}: not a fingerprint of this version; delete it to go on") from None
    return found


def _prompt(processor: SmolVLMProcessor, data: DataKeys) -> list[int]:
    """Token ids of a prompt with two frames, one second apart, and the run's own instruction."""
    talk = [Exchange(instruction("fingerprint", data), None)]
    return encode_text(talk, [0.0, 1.0], 2.0, processor, data.system or "")[0]


def _frames(processor: SmolVLMProcessor) -> torch.Tensor:
    """(2, 3, S, S) uint8: a colour gradient, and the same with a white square in it."""
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
    """Features of the two frames, as the language model receives them."""
    base: Any = base_of(model)
    device = base.lm_head.weight.device
    model.eval()
    base.model.vision_model.to(device)  # training on cached features leaves it where it was
    frames = _frames(processor).to(device)
    scale = partial(normalise, processor=processor)
    return forward.as_mm_outputs(
        forward.connect(base, forward.encode_frames(base, scale, frames, len(frames)))
    )


@torch.no_grad()
def _predicted(
    model: PreTrainedModel | PeftModel, pictures: Any, ids: list[int], places: int
) -> torch.Tensor:
    """(places, V) next-token probabilities at the last `places` positions of `ids`, fp32 on the CPU."""
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
