"""Show what this machine can train: versions, GPU, precision, decoders, Hub, disk, recipes that fit.

python scripts/doctor.py                  exit code 0: training can start
python scripts/doctor.py recipes=false    without planning each recipe
"""

import sys
from collections.abc import Iterable
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from data.command import command
from data.errors import UserError
from train.machine.config import DoctorConfig
from train.machine.packages import Finding, packages


def main(config: DoctorConfig) -> None:
    _print_findings(packages())
    from train.machine.doctor import findings, next_step  # imports all of the packages

    _print_findings(findings(recipes=config.recipes))
    print(f"next: {next_step()}")
    print("training can start")


def _print_findings(findings: Iterable[Finding]) -> None:
    bad = 0
    for found in findings:
        bad += found.verdict == "BAD"
        print(f"{found.verdict:<5} {found.what:<24} {found.text}", flush=True)
    if bad:
        raise UserError(f"training cannot start: {bad} to mend")


if __name__ == "__main__":
    command(DoctorConfig, main, __doc__)
