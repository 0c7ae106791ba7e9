"""Does scripts/audit.py find bad labels, and is training without them better? Tiny models, 3 seeds: hours.

python scripts/bench_audit.py
python scripts/bench_audit.py shares=0.1 seeds=0 json=out.json
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from data.command import Figures, bench
from train.bench.config_trained import BenchAuditConfig


def main(config: BenchAuditConfig) -> Figures:
    from train.bench.audit import compare_audit  # heavy

    return compare_audit(config)


if __name__ == "__main__":
    bench(BenchAuditConfig, main, __doc__)
