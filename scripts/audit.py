"""Doubtful labels: rows whose text gains nothing from their frames, or whose times do not fit them, by a trained model.

python scripts/audit.py run=runs/clips data.path=prepared/videos out=audits/videos
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from data.command import command
from train.audit.config import AuditConfig


def main(config: AuditConfig) -> None:
    from train.audit.command import LIST, LOSSES, PAGE, audit, report  # torch: slow to load

    print(report(audit(config)))
    print(f"in {config.out}: {PAGE} to look at and to mark, {LIST}, {LOSSES}")


if __name__ == "__main__":
    command(AuditConfig, main, __doc__)
