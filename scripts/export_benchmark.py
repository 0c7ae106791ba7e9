"""Export held-out videos as a benchmark for VLMEvalKit; scripts/evaluate.py then scores its answers.

python scripts/export_benchmark.py data.path=prepared/videos name=my_videos out=LMUData model=merged/clips
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # `data` and `train` must be this clone's

from data.command import command
from train.evaluation.config import ExportConfig


def main(config: ExportConfig) -> None:
    from train.evaluation.vlmevalkit import export

    done = export(config)
    print(
        f"{done['videos']} videos in {done['table']}. In a clone of VLMEvalKit:\n"
        f"LMUData={Path(config.out).resolve()} PRED_FORMAT=json python run.py --config {Path(done['config']).resolve()} --mode infer\n"
        f"then here: python scripts/evaluate.py predictions=ITS_ANSWERS.json references={done['references']} out=evals/{config.name}"
    )


if __name__ == "__main__":
    command(ExportConfig, main, __doc__)
