"""The README of a prepared dataset: its card on the Hub; in a folder, it says which files hold rows."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from data.prepared.summary import counted
from data.selection.choose import recorded_keys
from data.sources.catalog import about

CARD = "README.md"
SIZES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M")


def dataset_card(manifest: dict[str, Any], repo: str | None = None) -> str:
    """Markdown with the metadata that `datasets.load_dataset` and the Hub read: without it, a reader
    would take the manifest for the only row.

    Args:
        repo: repository on the Hub; None for a folder, whose name is left out so that equal runs write
            equal bytes.
    """
    from data.pages.render import render  # imported only when a card is written

    sources = [about(name) for name in sorted(manifest["by_source"])]
    licences = {source.licence for source in sources}
    lost = manifest["quarantined"]
    return render(
        Path(__file__).with_suffix(".md"),
        licence=licences.pop() if len(licences) == 1 else "other",
        name=repo.split("/")[-1] if repo else "Prepared videos",
        place=repo or "this/folder",
        address=f"hf://datasets/{repo}" if repo else "this/folder",
        rows="data/shard-*.parquet" if repo else "shard-*.parquet",
        size=SIZES[min(len(SIZES) - 1, max(0, int(math.log10(max(1, manifest["rows"]))) - 2))],
        amount=counted(manifest),
        hours=f"{manifest['video_s'] / 3600:.1f}",
        frames=manifest["frames"],
        by_source=sorted(manifest["by_source"].items()),
        policy=manifest["policy"],
        in_parts=recorded_keys(manifest["policy"]).in_parts,
        left_out=sum(manifest["left_out"].values()),
        quarantined=sum(lost.values()),
        reasons=", ".join(f"{count} {reason}" for reason, count in lost.items()),
        synthetic=[
            (f"{count:,}", safe_name(name)) for name, count in manifest.get("synthetic", {}).items()
        ],
        notes=[source.note for source in sources if source.note],
    )


def safe_name(text: str) -> str:
    """A model's name from a row, as text in Markdown."""
    return "".join(c if c.isalnum() or c in "._/-@:+ " else "?" for c in text)[:100]
