"""Rows of VideoFeedback, as its Parquet files have them."""

import pyarrow as pa
import pyarrow.parquet as pq

LINK = "https://huggingface.co/datasets/hexuan21/VideoFeedback-videos-mp4/resolve/main/p/{}.mp4"


def feedback(i, **changes):
    return {
        "id": f"p{i:06d}", "images": [f"p{i:06d}_00.jpg"], "text prompt": f"a person opens door {i}",
        "video link": LINK.format(f"p{i:06d}"), "visual quality": 4, "temporal consistency": 4,
        "dynamic degree": 3, "text-to-video alignment": 1 + i % 4, "factual consistency": 4,
        "conversations": [{"from": "human", "value": "x"}], **changes,
    }  # fmt: skip


def write_feedback(folder, rows, subset="annotated", split="train", order=None):
    path = folder / subset / f"{split}-00000-of-00001.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows)
    pq.write_table(table.select(order) if order else table, path)
    return folder
