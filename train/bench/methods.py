"""The training methods on a pretrained language model: memory, time and scores at equal steps.

The published SmolVLM2 weights are not needed: SmolLM2's language model sees micro-world videos through the
tiny model's tower (`language_model.py`), and their references are exact.
"""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from data.config import GIB, load
from data.offline.prepare import prepare
from train import sft
from train.bench import language_model
from train.bench.config_trained import MethodsConfig
from train.bench.policies import CAPTIONS
from train.config import TrainConfig
from train.console import say
from train.demo.world import world_keys
from train.evaluation.config import EvaluateConfig
from train.evaluation.evaluate import evaluate
from train.evaluation.report.table import summarise
from train.model.load import device_name
from train.run.state import versions
from train.sections import Method


def compare_methods(config: MethodsConfig) -> dict[str, Any]:
    """Train and score each method in a process of its own, from one checkpoint; flat figures by method."""
    work = Path(config.work)
    prepare(
        world_keys(work / "videos", work / "prepared", limit=config.videos, frames=config.frames)
    )
    if not (work / "base" / "processor_config.json").is_file():
        language_model.build(
            *language_model.read(Path(config.language_model)),
            work / "base",
            prewarm_steps=config.prewarm_steps,
            seed=config.seed,
        )
    figures: dict[str, Any] = {"device": device_name(), **versions()}
    for method in config.methods:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:  # own peak and state
            found = pool.submit(_one, config, method).result()
        figures |= {f"{method}/{name}": value for name, value in found.items()}
        say(table(config, figures))
    return figures


def _one(config: MethodsConfig, method: Method) -> dict[str, float]:
    out = f"{config.work}/run-{method}-{config.seed}"
    learns = (
        [f"optim.lr={config.lr_full}", f"optim.lr_connector={config.lr_full}"]
        if method == "full"
        else [f"optim.lr={config.lr}", "lora.r=32", "lora.alpha=32", "lora.targets=llm+connector"]
    )
    keys = load(
        TrainConfig,
        [
            f"train.method={method}",
            f"model.name={config.work}/base",
            f"data.path={config.work}/prepared",
            "data.eval_share=0.05",
            "data.eval_max=200",
            "data.workers=0",  # spawned from a spawned process, each would import everything
            *learns,
            f"train.batch={config.batch}",
            "train.accumulate=1",
            "train.checkpointing=false",
            f"train.steps={config.steps}",
            f"train.eval_every={config.steps}",
            f"train.output={out}",
            f"train.seed={config.seed}",
        ],
    )
    started = time.monotonic()
    losses = sft.main(keys)
    trained_s = time.monotonic() - started
    peak = torch.cuda.max_memory_allocated() / GIB if torch.cuda.is_available() else float("nan")
    started = time.monotonic()
    done = evaluate(
        load(
            EvaluateConfig,
            [
                f"data.path={config.work}/prepared",
                f"adapter={out}",
                "generate.max_new_tokens=200",
                "generate.batch=64",
                f"out={out}-evaluation",
                "overwrite=true",
            ],
        ),
        shown=False,
    )
    found = {
        "train_s": trained_s,
        "peak_gib": peak,
        "describe_s": time.monotonic() - started,
        "answer_loss_before": losses["eval_loss_before"],
        "answer_loss_after": losses["eval_loss_after"],
    }
    (scores,) = summarise(done, config.seed).values
    for name in CAPTIONS:
        found |= {name: scores[name].value}
        found |= {f"{name}/low": scores[name].low, f"{name}/high": scores[name].high}
    return found


def table(config: MethodsConfig, figures: dict[str, Any]) -> str:
    """A Markdown table, a row per method measured so far."""
    lines = [
        f"{config.steps} steps of {config.batch} videos on {figures['device']}; scores on held-out videos [95 % interval]",
        "",
        f"| method | minutes | peak GiB | answer loss, before and after | {' | '.join(CAPTIONS.values())} |",
        "|---|---|---|---|" + "---|" * len(CAPTIONS),
    ]
    for method in config.methods:
        row = {
            name.removeprefix(f"{method}/"): value
            for name, value in figures.items()
            if name.startswith(f"{method}/")
        }
        if not row:
            continue
        scores = [f"{row[n]:.3f} [{row[f'{n}/low']:.3f}, {row[f'{n}/high']:.3f}]" for n in CAPTIONS]
        loss = f"{row['answer_loss_before']:.3f}, {row['answer_loss_after']:.3f}"
        cells = [f"{row['train_s'] / 60:.1f}", f"{row['peak_gib']:.2f}", loss, *scores]
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return "\n".join(lines)
