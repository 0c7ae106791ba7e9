"""What do fewer tokens a frame save, by the plan of a training step? Do quarters of a frame let a model read?

python scripts/bench_tokens.py                                    500M and 2.2B, 1 minute, no weights needed
python scripts/bench_tokens.py models=256M frames=64 json=out.json
python scripts/bench_tokens.py parts=tiles                        trains tiny models, 3 seeds: 30 minutes on 2 cores
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from data.command import Figures, bench
from train.bench.config import BenchTokensConfig


def main(config: BenchTokensConfig) -> Figures:
    figures: Figures = {}
    if "fits" in config.parts:
        from train.bench.tokens import what_fits  # heavy

        figures |= what_fits(config)
    if "compress" in config.parts:
        from train.bench.compressed import compare_compressed

        figures |= compare_compressed(config)
    if "tiles" in config.parts:
        from train.bench.signs import compare_tiles

        figures |= compare_tiles(config)
    return figures


if __name__ == "__main__":
    bench(BenchTokensConfig, main, __doc__)
