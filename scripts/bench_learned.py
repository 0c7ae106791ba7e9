"""Is learned choice better than rules? Boundaries, values of frames, what describers say of them, events: each
beside what it would replace.

python scripts/bench_learned.py parts=boundaries json=out.json      about 25 minutes on 2 cores
python scripts/bench_learned.py parts=values,scenes,events          trains tiny describers and selectors: hours
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from data.command import Figures, bench
from train.bench.config_trained import BenchLearnedConfig


def main(config: BenchLearnedConfig) -> Figures:
    figures: Figures = {}
    if "boundaries" in config.parts:
        from data.bench.boundaries import (
            built_videos,
            clips_folder,
            measure_boundaries,
            real_clips,
            ways_of,
        )
        from data.bench.synthetic_videos import build

        clips = clips_folder(config.clips)
        ways = ways_of(config.selector, config.ways)
        name = "real" if clips else "textures"
        work = Path(config.work) / f"built-{name}"
        print(f"building videos in {work} …", flush=True)
        built = build(work, per_half=config.per_half, clips=clips)
        figures |= measure_boundaries(built_videos(built), ways, "built", workers=config.workers)
        if clips:
            figures |= measure_boundaries(real_clips(clips), ways, "clips", workers=config.workers)
    if "values" in config.parts:
        from train.bench.learned import compare_values  # heavy: not in the decode workers

        figures |= compare_values(config)
    if "scenes" in config.parts:
        from train.bench.learned_scenes import compare_scenes

        figures |= compare_scenes(config)
    if "events" in config.parts:
        from train.bench.learned_events import compare_events

        figures |= compare_events(config)
    return figures


if __name__ == "__main__":
    bench(BenchLearnedConfig, main, __doc__)
