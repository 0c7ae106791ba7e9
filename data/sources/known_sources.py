"""Every source: which keys it uses, and facts about its dataset.

A source is a module of its name in `data/sources/` and one entry here. The module has `read(keys)` →
samples, `count(keys)` → their number or None, and `version(keys)` → a text that identifies the state of
the data, or None if the keys already do.
"""

from __future__ import annotations

from dataclasses import dataclass

SHARED = frozenset({"name", "path", "limit", "shuffle_seed", "weight"})
"""Keys that every source uses."""


@dataclass(frozen=True)
class Source:
    """Facts about a source that are known before a row is read. Imports nothing heavy."""

    keys: frozenset[str] = frozenset()
    """Keys that it uses in addition to `SHARED`."""
    needs_path: bool = False
    """Whether `source.path` must be given, as there is no default dataset on the Hub."""
    repo: str | None = None
    """The dataset's repository on the Hub."""
    licence: str = "other"
    """The licence's id on the Hub."""
    credit: str = "not known; ask its makers"
    """Licence and credit in words, for a model card."""
    note: str = ""
    """The terms that come with its rows, for a dataset card."""
    texts: int = 1
    """Version of the texts made from its rows. It is raised when they change, so that a half-finished
    dataset does not mix old and new texts."""


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
        texts=3,
    ),
    "videofeedback": Source(
        keys=frozenset({"revision", "subset", "split", "videos", "ids", "min_alignment", "rating"}),
        repo=VIDEOFEEDBACK,
        licence="apache-2.0",
        credit="Apache-2.0",
        note=f"VideoFeedback is Apache-2.0 (https://huggingface.co/datasets/{VIDEOFEEDBACK}).",
    ),
    "activitynet": Source(
        keys=frozenset({"split", "videos", "ids", "speech_context"}),
        needs_path=True,
        credit="ActivityNet Captions or a file in its form; ask its makers",
    ),
    "jsonl": Source(
        keys=frozenset({"videos", "speech_context"}),
        needs_path=True,
        credit="the maker's own; ask them",
    ),
    "files": Source(
        keys=frozenset({"speech_context"}),
        needs_path=True,
        credit="the maker's own; ask them",
    ),
    "microworld": Source(
        keys=frozenset({"seed", "film_s", "busy"}),
        licence="apache-2.0",
        credit="synthetic, rendered by scenescribe; Apache-2.0",
    ),
}
