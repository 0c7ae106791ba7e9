"""Rows of other datasets in the `jsonl` source, each converted to our own format.

ShareGPT4Video  {"video_id", "video_path", "captions": [{"idx": "-1", "content": …}, …]}
                → the caption of index -1, which describes the whole video
PLM-Video-Human {"uid", "video", "total_frames", "dense_captions": [{"start_frame", "end_frame", "caption"}]}
                (rdcap), or one "caption" with "start_frame" and "end_frame" (rcap, rtloc)
                → events; frames are numbered at six per second, and `end_frame` is included. They are about one
                subject, "masklet_id": with SA-V's masks beside the video it is marked (`masklets.py`)
Vript           {"meta": …, "data": {"<id>-Scene-001": {"clip_id", "caption": {"content", …}}, …}}
                → one row per clip, whose file is found by its name below `source.videos`

LLaVA-Video-178K and PLM's training rows are LLaVA rows and need no mapping. If a dataset's videos are
not beside the rows, `source.videos` says where they are.
"""

from __future__ import annotations

from typing import Any

PLM_FPS = 6.0
Row = dict[str, Any]


class BadRow(Exception):
    """This row cannot be used; the text says why."""


def own_rows(row: Row) -> list[Row]:
    """A row of a known dataset as rows in our own format; any other row unchanged."""
    if "captions" in row and ("video_path" in row or "video_id" in row):
        return [_sharegpt4video(row)]
    if "total_frames" in row and ("dense_captions" in row or "start_frame" in row):
        return [_plm(row)]
    if isinstance(row.get("meta"), dict) and isinstance(row.get("data"), dict):
        return _vript(row)
    return [row]


def _sharegpt4video(row: Row) -> Row:
    captions = row["captions"]
    whole = [
        c.get("content")
        for c in (captions if isinstance(captions, list) else [])
        if isinstance(c, dict) and str(c.get("idx")) == "-1"
    ]
    if not whole:
        raise BadRow("captions holds no entry of idx -1, the caption of the whole video")
    return {
        "id": row.get("video_id"),
        "video": row.get("video_path") or row.get("video_id"),
        "description": whole[0],
    }


def _plm(row: Row) -> Row:
    captions = row.get("dense_captions", [row])
    if not isinstance(captions, list) or not all(isinstance(c, dict) for c in captions):
        raise BadRow("dense_captions must be a list of objects")
    events = []
    for caption in captions:
        frames = [caption.get("start_frame"), caption.get("end_frame")]
        if any(isinstance(f, bool) or not isinstance(f, int) for f in frames):
            raise BadRow(f"start_frame and end_frame must be whole numbers, got {frames}")
        start, end = frames
        events.append([start / PLM_FPS, (end + 1) / PLM_FPS, caption.get("caption")])
    name = row.get("uid", row.get("video"))
    about = {"masklet_id": row["masklet_id"]} if "masklet_id" in row else {}
    return {"id": name, "video": row.get("video"), "events": events, **about}


def _vript(row: Row) -> list[Row]:
    rows = []
    for name, clip in row["data"].items():
        caption = clip.get("caption") if isinstance(clip, dict) else None
        content = caption.get("content") if isinstance(caption, dict) else None
        rows.append(
            {
                "id": name,
                "video": name,
                "video_id": row["meta"].get("video_id"),
                "description": content,
            }
        )
    if not rows:
        raise BadRow("data holds no clip")
    return rows
