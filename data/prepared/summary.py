"""The result of a run of scripts/prepare.py as text for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def counted(manifest: dict[str, Any]) -> str:
    """The number of videos in a dataset, and of rows if several rows belong to one video."""
    rows, videos = manifest["rows"], manifest["videos"]
    return (
        f"{rows:,} videos"
        if rows == videos
        else f"{rows:,} rows of {videos:,} video{'s' * (videos > 1)}"
    )


def own_words(counts: Mapping[str, int]) -> str:
    """The numbers of rows with their own prompt, system turn or context, as text."""
    names = {"prompt": "prompts", "system": "system turns", "context": "contexts"}
    return ", ".join(f"{count} {names[what]}" for what, count in counts.items())


def report(summary: dict[str, Any]) -> str:
    """The summary of `data.offline.prepare.prepare`: what there is now, what is missing and why."""
    rows, lost = summary["rows"], sum(summary["quarantined"].values())
    lines = [f"{counted(summary)} prepared, {lost} quarantined"]
    lines += [f"  {count:>6}  {reason}" for reason, count in summary["quarantined"].items()]
    if rows:
        lines.append(
            f"{summary['frames']} frames, {summary['frames'] / rows:.1f} a video; "
            f"{summary['video_s']:.0f} s of video in {summary['seconds']:.1f} s "
            f"({summary['video_s'] / max(summary['seconds'], 1e-3):.1f} × real time)"
        )
    if summary["own_words"]:
        lines.append(f"rows with their own texts: {own_words(summary['own_words'])}")
    if len(summary["by_source"]) > 1:
        shares = (f"{n} of {name}" for name, n in summary["by_source"].items())
        lines.append(f"from {', '.join(shares)}")
    if summary["left_out"]:
        whys = (f"{n} {why}" for why, n in summary["left_out"].items())
        lines.append(f"rows filtered out: {', '.join(whys)}")
    if summary["repairs"]:
        whats = (f"{n} {what}" for what, n in summary["repairs"].items())
        lines.append(f"repaired or dropped: {', '.join(whats)}")
    if rows and summary["policy"]["speed"] != "exact":
        lines.append(
            f"speed={summary['policy']['speed']}: frames are shown at their true times; what happens "
            f"between two decoded frames is not seen, at most {summary['unseen_s']:.2f} s at a time"
        )
    if summary["rows_from_before"]:
        lines.append(f"{summary['rows_from_before']} source rows were done by an earlier run")
        if lost:
            lines.append("retry=quarantine tries the quarantined rows again")
    return "\n".join(lines)
