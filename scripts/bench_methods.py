"""Does QLoRA cost quality? Trains a real language model of 135 M on the micro-world by each method.

python scripts/bench_methods.py language_model=SmolLM2-135M-Instruct.Q4_1.gguf      minutes on a GPU, hours on a CPU
python scripts/bench_methods.py language_model=… methods=qlora,lora steps=300 json=out.json
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from data.command import Figures, bench
from train.bench.config_trained import MethodsConfig


def main(config: MethodsConfig) -> Figures:
    from train.bench.methods import compare_methods  # heavy: not in the decode workers

    return compare_methods(config)


if __name__ == "__main__":
    bench(MethodsConfig, main, __doc__)
