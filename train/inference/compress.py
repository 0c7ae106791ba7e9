"""Fewer picture tokens while describing, without training: what looks as in the frame before is left out, as by
AdaReTaKe (arXiv 2503.12559), by likeness alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional


def kept_tokens(features: torch.Tensor, share: float) -> torch.Tensor:
    """Which tokens of a video stay if `share` of them is left out: those least like the same place of the frame
    before. Stretches of little change lose more. The first frame stays whole, and of each other frame at least one
    token, so that less may be left out than is asked.

    Args:
        features: (F, N, H), the connector's.

    Returns:
        (F, N) bool.
    """
    frames, each, _ = features.shape
    kept = torch.ones(frames, each, dtype=torch.bool, device=features.device)
    count = min(round(share * frames * each), (frames - 1) * (each - 1))
    if count <= 0:
        return kept
    alike = functional.cosine_similarity(features[1:].float(), features[:-1].float(), dim=-1)
    stays = alike.argmin(dim=1, keepdim=True)  # (F - 1, 1)
    alike = alike.scatter(1, stays, -torch.inf)
    kept[1:].view(-1)[alike.flatten().topk(count).indices] = False
    return kept


def compressed(
    prompts: Sequence[dict[str, Any]],
    features: Sequence[torch.Tensor],
    image_token: int,
    share: float,
) -> tuple[list[dict[str, Any]], list[torch.Tensor]]:
    """Prompts without `share` of their picture tokens, and the features of those that stay. `position_ids` says where
    each token was: times and places keep their distances.

    Args:
        features: (F, N, H) of each prompt.

    Returns:
        prompts, and (tokens, H) of each.
    """
    shorter, rest = [], []
    for prompt, own in zip(prompts, features, strict=True):
        kept = kept_tokens(own, share)
        ids = torch.tensor(prompt["input_ids"])
        stays = ids != image_token
        stays[~stays] = kept.flatten().cpu()
        places = stays.nonzero().squeeze(1)
        labels = torch.tensor(prompt["labels"])[places].tolist()
        changed = {"input_ids": ids[places].tolist(), "labels": labels}
        shorter.append({**prompt, **changed, "position_ids": places.tolist()})
        rest.append(own[kept])
    return shorter, rest
