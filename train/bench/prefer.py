"""What helps after SFT where its labels are poor? Ways to go on from the same model, at about equal compute.

A describer is trained on poor labels: times off by up to two seconds, an invented scene in some, or few videos. Other
videos have exact labels, which the ways learn from, or are rewarded by; further ones are described.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.config import load
from data.errors import UserError
from data.offline.prepare import prepare
from data.prepared.dataset import Prepared
from train.bench.config_trained import BenchPreferConfig, PoorLabels
from train.bench.policies import CAPTIONS
from train.bench.poor_labels import HELD, exact_name, prepare_case, world_of
from train.bench.seeds import (
    in_pool,
    note_lead,
    noted,
    one_core_each,
    quietly,
    tiny_run,
    told_by,
    warmed_base,
)
from train.console import say
from train.evaluation.by_sample import references_of
from train.evaluation.records import Prediction
from train.evaluation.scoring import score
from train.preference.command import prefer
from train.preference.config import PreferConfig, SampleConfig
from train.preference.pairs import ANSWERS, RECORD
from train.preference.sample import sample

START = "SFT alone"
BEGUN = 0.02
"""Share of the poor set that is held out while training."""


@dataclass(frozen=True)
class Way:
    """How training goes on."""

    steps: str
    """The key of the bench that says how long."""
    keys: tuple[str, ...]
    """Of train/prefer.py, or of train/sft.py without `prefer.method`."""
    pairs: str | None = None
    """Which of `PAIRS`."""


PAIRS: Mapping[str, tuple[str, ...]] = {
    "sampled": (),
    "worse": (
        "makers.sampled=0",
        "makers.dropped=0.5",
        "makers.swapped=0.5",
        "makers.shifted=0.5",
        "makers.repeated=0.25",
    ),
    "both": ("makers.dropped=0.25", "makers.swapped=0.25", "makers.shifted=0.25"),
}
SFT = ("optim.name=muon", "optim.lr=2e-3")
AFTER = ("optim.name=adamw", "optim.lr=3e-4")
WAYS: Mapping[str, Way] = {
    "more SFT": Way("sft_steps", SFT),
    "SFT on the exact labels": Way("sft_steps", SFT),
    "RFT": Way("sft_steps", ("prefer.method=rft", *SFT), "sampled"),
    "DPO of samples": Way("dpo_steps", ("prefer.method=dpo", *AFTER), "sampled"),
    "DPO of made worse": Way("dpo_steps", ("prefer.method=dpo", *AFTER), "worse"),
    "DPO + SFT of both": Way("dpo_steps", ("prefer.method=dpo+sft", *AFTER), "both"),
    "GRPO": Way("grpo_steps", ("prefer.method=grpo", "prefer.max_new_tokens=160", *AFTER)),
}


@dataclass(frozen=True)
class Gone:
    """Where a way led: what its model says of the held-out videos, and the CPU seconds since SFT."""

    said: dict[str, Prediction]
    seconds: float


def compare_prefer(config: BenchPreferConfig) -> dict[str, float]:
    """Prepare, train, go on, describe, score; returns flat figures. Results of an earlier call are reused."""
    if unknown := [way for way in config.ways if way not in WAYS]:
        raise UserError(f"ways={','.join(unknown)}: not known; known are {', '.join(WAYS)}")
    for case in config.cases:
        prepare_case(config, case)
    prepare(world_of(config, "held", HELD, config.held_out))
    starts = [(config, case, seed) for case in config.cases for seed in config.seeds]
    calls = [(*start, way) for start in starts for way in (START, *config.ways)]
    with one_core_each(config.workers) as pool:
        warm = [(config.work, seed, config.prewarm_steps) for seed in config.seeds]
        in_pool(pool, "warm up", warmed_base, warm)
        in_pool(pool, "SFT on poor labels", start, starts)
        in_pool(pool, "sample", make_pairs, starts)
        gone = in_pool(pool, "go on and describe", go_on, calls)
    of = {(case, seed, way): one for (_, case, seed, way), one in zip(calls, gone, strict=True)}
    references = references_of(Prepared.open(f"{config.work}/held").rows())
    figures: dict[str, float] = {}
    for case in config.cases:
        draws: dict[str, np.ndarray] = {}
        for way in (START, *config.ways):
            every = [score(references, of[case, seed, way].said) for seed in config.seeds]
            draws[way] = noted(figures, f"{case}/{way}", every, config.seeds, CAPTIONS)
            for base in (START, config.ways[0]):
                if base in draws and way != base:
                    key, both = f"{case}/{way}_minus_{base}", (draws[way], draws[base])
                    note_lead(figures, key, f"{case}/{way}", f"{case}/{base}", both, CAPTIONS)
            spent = [of[case, seed, way].seconds for seed in config.seeds]
            figures[f"{case}/{way}/cpu_seconds"] = float(np.mean(spent))
    say(table(config, figures))
    return figures


# --- one model --------------------------------------------------------------------------------


def _run(config: BenchPreferConfig, case: PoorLabels, seed: int, way: str = START) -> Path:
    name = way.replace(", ", "-").replace(" + ", "+").replace(" ", "_")
    return Path(config.work) / f"run-{case}-{seed}-{name}"


def start(config: BenchPreferConfig, case: PoorLabels, seed: int) -> None:
    """SFT on the poor labels."""
    tiny_run(
        f"{config.work}/base-{seed}",
        f"{config.work}/{case}",
        _run(config, case, seed),
        steps=config.steps,
        seed=seed,
        more=[f"data.eval_share={BEGUN}"],
    )


def make_pairs(config: BenchPreferConfig, case: PoorLabels, seed: int) -> None:
    """Answers of the start to the exact set, as pairs of each kind that a way needs."""
    wanted = {WAYS[way].pairs for way in config.ways}
    first = _run(config, case, seed, "pairs sampled")
    for kind in [kind for kind in PAIRS if kind in wanted]:
        out = _run(config, case, seed, f"pairs {kind}")
        if (out / RECORD).exists():
            continue
        out.mkdir(parents=True, exist_ok=True)
        argv = [
            f"run={_run(config, case, seed)}",
            f"data.path={config.work}/{exact_name(config, case)}",
            f"out={out}",
            f"seed={seed}",
            "generate.max_new_tokens=160",
            "generate.batch=16",
            "dtype=fp32",
            "shown=0",
            *PAIRS[kind],
            *([] if kind == "worse" else [f"samples={config.samples}"]),
        ]
        if kind == "worse":
            argv = [one for one in argv if not one.startswith("generate.")]
        spent = 0.0
        if kind == "both" and (first / ANSWERS).exists():  # the same answers, and made worse ones
            shutil.copy(first / ANSWERS, out / ANSWERS)
            spent = float((first / "seconds").read_text())
        begun = time.process_time()
        with quietly(out / "log.txt"):
            sample(load(SampleConfig, argv))
        (out / "seconds").write_text(str(spent + time.process_time() - begun))


def go_on(config: BenchPreferConfig, case: PoorLabels, seed: int, way: str) -> Gone:
    """Train on from the start, then describe."""
    out, begun = _run(config, case, seed, way), time.process_time()
    spent = out / "seconds"
    if way != START and not (out / "run.json").exists():
        _train(config, case, seed, WAYS[way], out, way)
        pairs = WAYS[way].pairs
        sampling = _run(config, case, seed, f"pairs {pairs}") / "seconds"
        before = float(sampling.read_text()) if pairs else 0.0
        spent.write_text(str(time.process_time() - begun + before))
    told = told_by(out, Prepared.open(f"{config.work}/held").rows())
    return Gone(told, float(spent.read_text()) if spent.exists() else 0.0)


def _train(
    config: BenchPreferConfig, case: PoorLabels, seed: int, how: Way, out: Path, way: str
) -> None:
    begun, exact = _run(config, case, seed), f"{config.work}/{exact_name(config, case)}"
    steps = config.model_dump()[how.steps]
    if not any(key.startswith("prefer.method") for key in how.keys):
        data = f"{config.work}/{case}" if way == "more SFT" else exact
        more = [f"data.eval_share={BEGUN}", *how.keys]
        tiny_run(begun, data, out, steps=steps, seed=seed, more=more)
        return
    grouped = how.pairs is None
    argv = [
        "recipe=demo",
        f"model.name={begun}",
        f"data.path={exact}",
        "data.eval_share=0",
        "data.workers=0",
        f"train.steps={steps}",
        f"train.output={out}",
        f"train.seed={seed}",
        "optim.lr_vision=0",
        *(
            ["train.batch=8"]
            if grouped
            else [f"pairs={_run(config, case, seed, f'pairs {how.pairs}')}"]
        ),
        *how.keys,
    ]
    out.mkdir(parents=True, exist_ok=True)
    with quietly(out / "log.txt"):
        prefer(load(PreferConfig, argv))


def table(config: BenchPreferConfig, figures: Mapping[str, float]) -> str:
    """A Markdown table, a row a case and way, with the lead over where it began."""
    lines = [
        f"{len(config.seeds)} seeds, {config.held_out} held-out videos; mean, and [95 % interval over videos] of the lead "
        f"over {START}",
        "",
        "| labels of SFT | then | CPU s | " + " | ".join(CAPTIONS.values()) + " |",
        "|---|---|---|" + "---|" * len(CAPTIONS),
    ]
    for case in config.cases:
        for way in (START, *config.ways):
            cells = [f"{figures[f'{case}/{way}/cpu_seconds']:.0f}"]
            for name in CAPTIONS:
                value = f"{figures[f'{case}/{way}/{name}']:.3f}"
                if way != START:
                    lead = f"{case}/{way}_minus_{START}/{name}"
                    value += f" [{figures[f'{lead}/low']:+.3f}, {figures[f'{lead}/high']:+.3f}]"
                cells.append(value)
            lines.append(f"| {case} | {way} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
