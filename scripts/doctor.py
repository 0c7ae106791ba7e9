"""Can this machine train, and what? Versions, GPU, precision, decoders, Hub, disk, recipes that fit.

python scripts/doctor.py                  exit code 0: training can start
python scripts/doctor.py recipes=false    without planning each recipe
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from data.config import UserError, command
from train.command_config import DoctorConfig


def main(config: DoctorConfig) -> None:
    from importlib.util import find_spec

    for package in ("torch", "transformers", "peft", "bitsandbytes", "av"):
        if find_spec(package) is None:
            raise UserError(f"{package} is not installed: pip install -e .")
    from train.doctor import findings

    bad = 0
    for found in findings(recipes=config.recipes):
        bad += found.verdict == "BAD"
        print(f"{found.verdict:<5} {found.what:<24} {found.text}", flush=True)
    if bad:
        raise UserError(f"training cannot start: {bad} to mend")
    print("training can start")


if __name__ == "__main__":
    command(DoctorConfig, main, __doc__)
