"""What do fewer tokens a frame save, by the plan of a training step? And what the papers do otherwise, on tiny models.

python scripts/bench_tokens.py                                    500M and 2.2B, 1 minute, no weights needed
python scripts/bench_tokens.py models=256M frames=64 json=out.json
python scripts/bench_tokens.py parts=verbs,questions,compress,tiles      trains tiny models, 3 seeds: hours
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from data.command import Figures, bench
from data.errors import UserError
from train.bench.config_trained import BenchTokensConfig


def main(config: BenchTokensConfig) -> Figures:
    figures: Figures = {}
    if "fits" in config.parts:
        from train.bench.tokens import what_fits  # heavy

        figures |= what_fits(config)
    if "alike" in config.parts:
        from data.bench.alike import share_alike, table
        from data.bench.boundaries import clips_folder, real_clips

        folder = clips_folder(config.clips)
        if folder is None:
            raise UserError("parts=alike: no real clips beside this checkout; give clips=FOLDER")
        alike = share_alike([clip.path for clip in real_clips(folder)])
        print(table(alike))
        figures |= alike
    if "verbs" in config.parts:
        from train.bench.verbs import compare_verbs

        figures |= compare_verbs(config)
    if "questions" in config.parts:
        from train.bench.questions import compare_pairs

        figures |= compare_pairs(config)
    if "compress" in config.parts:
        from train.bench.compressed import compare_compressed

        figures |= compare_compressed(config)
    if "tiles" in config.parts:
        from train.bench.signs import compare_tiles

        figures |= compare_tiles(config)
    return figures


if __name__ == "__main__":
    bench(BenchTokensConfig, main, __doc__)
