"""Real runs of the real trainer on the tiny model, and how a kill leaves them."""

import json
import shutil

from data.config import load
from train import sft
from train.config import TrainConfig

STEPS = 4


def keys(world, out, *extra, method="lora", base="tiny"):
    argv = [
        f"train.method={method}", f"model.name={base}", f"data.path={world}", f"train.output={out}", f"train.steps={STEPS}",
        "data.eval_share=0.2", "data.workers=0", "train.log_every=1", "optim.lr=1e-3", "lora.dropout=0",
    ]  # fmt: skip
    given = {a.split("=")[0] for a in extra}
    return [a for a in argv if a.split("=")[0] not in given] + list(extra)


def train(world, out, *extra, method="lora", base="tiny"):
    return sft.main(load(TrainConfig, keys(world, out, *extra, method=method, base=base)))


def rows(out, name="loss"):
    """Step → value, of the rows that have it, in their order; each step once."""
    lines = (out / "metrics.jsonl").read_text().splitlines()
    found = [(r["step"], r[name]) for r in map(json.loads, lines) if name in r]
    assert len(dict(found)) == len(found), f"{name} of a step twice: {found}"
    return dict(found)


def losses(out):
    return rows(out, "loss")


def steps(out):
    """Of the checkpoints that are there."""
    return sorted(int(p.name.removeprefix("checkpoint-")) for p in out.glob("checkpoint-*"))


RESULT = ("run.json", "adapter_model.safetensors", "adapter_config.json", "model.safetensors")


def killed_after(run, step, out):
    """A copy of a finished run as a kill after a step would have left it."""
    shutil.copytree(run, out)
    for later in [n for n in steps(out) if n > step]:
        shutil.rmtree(out / f"checkpoint-{later}")
    for name in RESULT:
        (out / name).unlink(missing_ok=True)
    return out


def contents(folder):
    """Every file's bytes by its name, but for the lock's."""
    files = [p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".")]
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}
