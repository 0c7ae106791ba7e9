"""Show what is in a prepared dataset: counts, lengths, quarantined rows, the first rows with their frames.

python scripts/inspect_dataset.py data.path=prepared/clips
python scripts/inspect_dataset.py data.path=prepared/clips page=clips.html model.name=HuggingFaceTB/SmolVLM2-500M-Video-Instruct
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from data.command import command
from data.errors import check_writable
from train.batches.config import InspectConfig


def main(config: InspectConfig) -> None:
    check_writable("page", config.page)
    from data.prepared import overview
    from data.storage import write_atomically

    tokens = None
    if config.model.name is not None:
        from train.batches.token_counts import token_counts

        tokens = token_counts(config.data, config.model.name)
    found = overview.overview(config.data.path, config.data.target, config.rows, tokens)
    print(overview.text(found))
    if config.page:
        write_atomically(config.page, overview.page(found))
        print(f"\n{config.page}")


if __name__ == "__main__":
    command(InspectConfig, main, __doc__)
