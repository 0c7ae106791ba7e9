"""Draws the README's picture of the flow, for a light and a dark page: `python .github/draw_flow.py`."""

from pathlib import Path

STAGES = [
    ("video", "any file", "data/video/"),
    ("signals", "one decode pass", "data/selection/measure/"),
    ("frames", "8 to 64, true times", "data/selection/policies/"),
    ("prepared dataset", "JPEGs and events", "data/prepared/"),
    ("batches", "tokens, label mask", "train/batches/"),
    ("adapter", "loss on the answer", "train/loop/ · train/run/"),
    ("description", "events with times", "train/inference/"),
    ("scores", "SODA, tIoU, judge", "train/evaluation/"),
]
"""What it is, what there is to know of it, where its code is."""
COLOURS = {
    "light": ("#24292f", "#57606a", "#d0d7de", "#f6f8fa"),
    "dark": ("#e6edf3", "#9198a1", "#3d444d", "#151b23"),
}
WIDTH, HEIGHT, GAP, COLUMNS = 220, 86, 34, 4


def flow(mode: str) -> str:
    text, soft, line, fill = COLOURS[mode]
    width = COLUMNS * WIDTH + (COLUMNS - 1) * GAP + 4
    rows = -(-len(STAGES) // COLUMNS)
    height = rows * HEIGHT + (rows - 1) * GAP + 4
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="system-ui,sans-serif" text-anchor="middle" role="img" aria-label="{" → ".join(s[0] for s in STAGES)}">'
    ]
    for i, (what, about, folder) in enumerate(STAGES):
        row, column = divmod(i, COLUMNS)
        x, y = 2 + column * (WIDTH + GAP), 2 + row * (HEIGHT + GAP)
        middle = x + WIDTH / 2
        parts += [
            f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="8" fill="{fill}" stroke="{line}"/>',
            f'<text x="{middle}" y="{y + 30}" font-size="18" font-weight="600" fill="{text}">{what}</text>',
            f'<text x="{middle}" y="{y + 51}" font-size="14" fill="{soft}">{about}</text>',
            f'<text x="{middle}" y="{y + 72}" font-size="12" font-family="ui-monospace,monospace" fill="{soft}">{folder}</text>',
        ]
        if column < COLUMNS - 1 and i < len(STAGES) - 1:
            parts.append(
                f'<text x="{x + WIDTH + GAP / 2}" y="{y + HEIGHT / 2 + 6}" font-size="18" fill="{soft}">→</text>'
            )
    return "\n".join([*parts, "</svg>"]) + "\n"


if __name__ == "__main__":
    for mode in COLOURS:
        Path(__file__).with_name(f"flow-{mode}.svg").write_text(flow(mode), encoding="utf-8")
