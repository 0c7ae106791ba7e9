"""Every source: which keys mean something to it, and what is known of its dataset.

A source is a module of its name in `data/sources/` and one entry here. The module has `read(keys)` →
samples, `count(keys)` → how many or None, and `version(keys)` → a text that names the state of what is
read, or None where the keys say it all.
"""

from __future__ import annotations

from dataclasses import dataclass

SHARED = frozenset({"name", "path", "limit", "shuffle_seed", "weight"})
"""Keys that mean something to every source."""


@dataclass(frozen=True)
class Source:
    """What is known of a source before a row is read. Imports nothing heavy."""

    keys: frozenset[str] = frozenset()
    """Keys that mean something to it, beside `SHARED`."""
    needs_path: bool = False
    """It has no dataset on the Hub to fall back on."""
    repo: str | None = None
    """On the Hub."""
    licence: str = "other"
    """As the Hub calls it."""
    credit: str = "not known; ask its makers"
    """Licence and credit in words, for a model card."""
    note: str = ""
    """What comes with its rows, for a dataset card."""
    texts: int = 1
    """Goes up where the same notes become other texts: a half-made dataset is not finished with both."""


FINEVIDEO = "HuggingFaceFV/finevideo"
VIDEOFEEDBACK = "TIGER-Lab/VideoFeedback"
SOURCES: dict[str, Source] = {
    "finevideo": Source(
        keys=frozenset(
            {"revision", "split", "shares", "ids", "category", "parent_category"}
            | {"min_duration_s", "max_duration_s", "language", "min_av_correlation"}
            | {"level", "speech", "speech_context", "qa"}
        ),
        repo=FINEVIDEO,
        licence="cc-by-4.0",
        credit="CC BY, with FineVideo's terms of use; each video's author is in the prepared rows",
        note="Videos of FineVideo are CC BY and come with its terms of use "
        f"(https://huggingface.co/datasets/{FINEVIDEO}): whoever shares them must include those terms "
        "and follow its removals.",
        texts=2,
    ),
    "videofeedback": Source(
        keys=frozenset({"revision", "subset", "split", "videos", "ids", "min_alignment", "rating"}),
        repo=VIDEOFEEDBACK,
        licence="apache-2.0",
        credit="Apache-2.0",
        note=f"VideoFeedback is Apache-2.0 (https://huggingface.co/datasets/{VIDEOFEEDBACK}).",
    ),
    "activitynet": Source(
        keys=frozenset({"split", "videos", "ids"}),
        needs_path=True,
        credit="ActivityNet Captions or a file in its form; ask its makers",
    ),
    "jsonl": Source(
        keys=frozenset({"videos"}), needs_path=True, credit="the maker's own; ask them"
    ),
    "microworld": Source(
        keys=frozenset({"seed"}),
        licence="apache-2.0",
        credit="synthetic, rendered by scenescribe; Apache-2.0",
    ),
}
