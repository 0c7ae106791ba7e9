"""The model card of a run: data, training, frame policy, scores, and code to use the model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import EvalResult, ModelCardData

from data.pages.render import render
from data.prepared.card import safe_name
from data.prepared.summary import own_words
from data.redact import redacted
from data.selection.known_policies import POLICIES
from data.sources.catalog import about
from train.hub.scores import Scores
from train.metrics.shown import CAPTIONS
from train.run.files import METRICS, RECORD, read_json
from train.run.policy import read_policy
from train.sections import INSTRUCTIONS

HERE = Path(__file__).parent
BASE_LICENCE = "apache-2.0"
"""The licence of the published SmolVLM2 checkpoints."""
TRANSFORMERS = "transformers>=5.21.1,<6"
"""The version that the card's code requires: earlier ones process frames differently, or count a video's
frames as videos."""
LEARNS = ("data", "train", "optim")
"""The config sections whose changed keys a card lists."""


def model_card(run: Path, repo: str, scores: Scores | None = None) -> str:
    """The README of a run on the Hub: YAML metadata, then Markdown.

    Raises:
        UserError: parts of the run are missing.
    """
    record, policy = read_json(run / RECORD), read_policy(run)
    frames, ask = policy.frames, policy.ask
    local = bool(record.get("base_is_folder"))
    record = redacted(record, record["base"] if local else None)
    config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    adapter = (run / "adapter_config.json").is_file()
    names = sorted({source["name"] for source in record["dataset"]["sources"]})
    base, inside = record["base"], record["base"] == "base"
    prompt = ask.prompt or INSTRUCTIONS[ask.target]
    prompt = prompt if isinstance(prompt, str) else prompt[0]
    system = ask.system or ""
    snippet = render(
        HERE / "snippet.md",
        adapter=adapter,
        fewer=adapter and config["model"].get("tokens_a_frame") is not None,
        frames=frames.max,
        repo=repo,
        transformers=TRANSFORMERS,
        prompt=json.dumps(prompt, ensure_ascii=False),
        base=f'"{base if adapter else repo}"'
        if not (inside and adapter)
        else f'snapshot_download("{repo}", allow_patterns="base/*") + "/base"',
        inside=inside and adapter,
        revision=record["revision"] if adapter and not inside else None,
        system=f'{{"role": "system", "content": [{{"type": "text", "text": {json.dumps(system, ensure_ascii=False)}}}]}}, '
        if system
        else "",
    )
    made = _kind_of_model(record["method"], adapter=adapter)
    linked = "a tiny model that scenescribe builds" if inside else _linked(base, local=local)
    results = record["results"]
    before, after = results.get("eval_loss_before"), results.get("eval_loss_after")
    loss = f"{after:.3f}" + (f" ({before:.3f} before training)" if before else "") if after else ""
    tenth = ".t" if ask.clock == "tenths" else ""
    return render(
        HERE / "card.md",
        metadata=_metadata(repo, record, config, scores, adapter=adapter, local=local),
        name=repo.split("/")[-1],
        opening=f"{made} of {linked} that describes videos "
        + (
            "densely: what happens, scene by scene, with times."
            if ask.target == "timeline"
            else "in prose."
        ),
        base=linked,
        revision=record["revision"],
        lineage=_lineage(record.get("went_on_from", [])),
        after_sft=_after_sft(record.get("prefer")),
        loss_of=LOSS_OF[record.get("prefer", {}).get("method", "sft")],
        trained=f"{made[0].lower()}{made[1:]}, {results['steps']} steps on {_devices(record)}",
        sees=f"at most {frames.max} frames a video{frames.in_parts}, {POLICIES[frames.policy].words or frames.policy} (`{frames.policy}`, version {policy.version})"
        + (
            f"; a video longer than {frames.window_s:g} s is described in windows of at most that, each with as many"
            if frames.window_s
            else ""
        )
        + ("; with what is said in it, in `Speech:` lines" if policy.speech_context else "")
        + (f"; {policy.tokens_a_frame} tokens each" if policy.tokens_a_frame else ""),
        clock=ask.clock,
        prompt=_cell(prompt),
        system=_cell(system),
        answers_with=f"one line per event, `[MM:SS{tenth} - MM:SS{tenth}] what happens`"
        if ask.target == "timeline"
        else "a paragraph",
        repo=repo,
        adapter=adapter,
        transformers=TRANSFORMERS,
        snippet=snippet.strip(),
        data=_data(record["dataset"]),
        sources=[
            (
                f"[{name}](https://huggingface.co/datasets/{known.repo})" if known.repo else name,
                known.credit,
            )
            for name, known in ((n, about(n)) for n in names)
        ],
        settings=_parts(config, record),
        curves=(run / METRICS).is_file(),
        versions=", ".join(f"{name} {number}" for name, number in record["versions"].items()),
        scores=_rows(scores),
        scored_on=f"{scores.on}, SODA's text score {scores.text_score}." if scores else "",
        loss=loss,
    )


LOSS_OF = {
    **dict.fromkeys(("sft", "rft"), "Mean loss of an answer's tokens"),
    **dict.fromkeys(("dpo", "dpo+sft"), "Mean loss of pairs of answers"),
    "grpo": "1 − mean reward of the answers",
}
"""Method → what the loss on held-out videos is."""


def _after_sft(told: dict[str, Any] | None) -> str:
    """How answers were preferred; empty after SFT."""
    if told is None:
        return ""
    if told["method"] == "grpo":
        return f"GRPO, {told['answers']} answers a video"
    pairs = ", ".join(f"{count} {maker}" for maker, count in told["made"]["pairs"].items())
    return f"{told['method'].upper()} on pairs of answers: {pairs}"


def _kind_of_model(method: str, *, adapter: bool) -> str:
    if method == "full":
        return "A full fine-tuning"
    kind = {"lora": "LoRA", "qlora": "QLoRA"}[method]
    return f"A {kind} adapter" if adapter else f"A {kind} fine-tuning, merged,"


def _data(dataset: dict[str, Any]) -> str:
    """The size of the dataset, the number of held-out videos, and how many rows had their own prompts."""
    rows = dataset["rows"]
    videos = dataset.get("videos", rows)  # not recorded by earlier versions
    several = rows != videos
    text = f"{rows} rows of {videos} videos" if several else f"{videos} videos"
    if (held := dataset.get("held_out_videos")) is not None:
        whole = " with all their rows" if several and held else ""
        text += f", {held or 'none'} of them held out{whole}"
    text += "."
    if synthetic := dataset.get("synthetic"):
        named = ", ".join(f"{count} by `{safe_name(name)}`" for name, count in synthetic.items())
        text += f" The texts of some rows are synthetic, written by a model: {named}."
    if own := dataset.get("own_words"):
        text += (
            f" Some of the {dataset['learned_from']} training rows have texts of their own "
            f"({own_words(own)}); the others were asked as above."
        )
    return text


def _of_hub(base: str, *, local: bool) -> bool:
    return not local and base.count("/") == 1 and not base.startswith((".", "/", "~"))


def _linked(base: str, *, local: bool) -> str:
    if _of_hub(base, local=local):
        return f"[{base}](https://huggingface.co/{base})"
    return Path(base).name


def _lineage(line: Sequence[dict[str, Any]]) -> str:
    """The runs that this one went on from, the nearest first."""
    named = []
    for one in line:
        at = f" at `{one['revision']}`" if one["revision"] else ""
        steps = f"{one['steps']} steps, " if one["steps"] else ""
        weights = str(one["weights_sha256"])[:12]
        linked = _linked(one["run"], local=one["revision"] is None)
        named.append(f"{linked}{at} ({steps}weights `{weights}`)")
    return ", which went on from ".join(named)


def _cell(text: str) -> str:
    """`text` made fit for one cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|")


def _devices(record: dict[str, Any]) -> str:
    """The devices of all parts of the run, in order."""
    each = [
        f"{p['devices']} × {p['device']}" if p["devices"] > 1 else p["device"]
        for p in record.get("parts") or [{"devices": 1, "device": record["device"]}]
    ]
    return ", then ".join(dict.fromkeys(each))


def _parts(config: dict[str, Any], record: dict[str, Any]) -> str:
    """The settings, and the keys that were changed when the run was resumed."""
    text = _settings(config, record["method"])
    for part in record.get("parts", [])[1:]:
        changed = [
            f"`{key}={value}`"
            for key, value in part["changed"].items()
            if key.split(".")[0] in LEARNS
        ]
        how = f" with {', '.join(changed)}" if changed else ""
        text += f" Stopped, and resumed after step {part['from_step']}{how}."
    return text


def _settings(config: dict[str, Any], method: str) -> str:
    train, optim, lora = config["train"], config["optim"], config["lora"]
    parts = [
        f"learning rate {optim['lr']:g} ({optim['schedule']}, {optim['warmup']:.0%} warm-up)",
        f"batch {train['batch']} × {train['accumulate']} accumulated",
        f"{optim['name']}, β₂ {optim['beta2']:g}, weight decay {optim['weight_decay']:g}, gradients clipped at {optim['clip']:g}",
        f"seed {train['seed']}",
    ]
    if method != "full":
        kind = "DoRA " if lora["dora"] else ""
        parts.insert(
            0,
            f"{kind}rank {lora['r']}, alpha {lora['alpha']}, dropout {lora['dropout']:g} on `{lora['targets']}`",
        )
    if train["pack"]:
        parts.append(f"packed to {train['pack_tokens']} tokens")
    text = "; ".join(parts)
    return text[0].upper() + text[1:] + "."


def _rows(scores: Scores | None) -> list[tuple[str, str, str, str]]:
    figures = scores.figures if scores else {}
    return [
        (caption, *(f"{figures[name][k]:.3f}" for k in ("value", "low", "high")))  # type: ignore[misc]
        for name, caption in CAPTIONS.items()
        if name in figures and figures[name]["value"] is not None
    ]


def _metadata(
    repo: str,
    record: dict[str, Any],
    config: dict[str, Any],
    scores: Scores | None,
    *,
    adapter: bool,
    local: bool,
) -> str:
    """The YAML metadata that the Hub reads; scores become its model-index."""
    sources = record["dataset"]["sources"]
    on_hub = {hub for s in sources if (hub := about(s["name"]).repo)}
    path = str(record["dataset"]["path"])
    if path.startswith("hf://datasets/"):
        on_hub.add("/".join(path.removeprefix("hf://datasets/").split("@")[0].split("/")[:2]))
    base, published = record["base"], _of_hub(record["base"], local=local)
    figures = scores.figures if scores else {}
    scored_on = scores.on.split(" ", 1)[1] if scores else ""
    results = [
        EvalResult(
            task_type="video-text-to-text",
            task_name="dense video description",
            dataset_type="scenescribe",
            dataset_name=scored_on,
            metric_type=name,
            metric_name=f"{caption} [{figures[name]['low']:.3f}, {figures[name]['high']:.3f}]",
            metric_value=round(figures[name]["value"], 4),
        )
        for name, caption in CAPTIONS.items()
        if name in figures and figures[name]["value"] is not None
    ]
    head = ModelCardData(
        license=BASE_LICENCE,
        library_name="peft" if adapter else "transformers",
        pipeline_tag="video-text-to-text",
        base_model=base if published else None,
        base_model_relation=("adapter" if adapter else "finetune") if published else None,
        datasets=sorted(on_hub) or None,
        tags=["scenescribe", "video", "dense-captioning", record["method"]],
        eval_results=results or None,
        model_name=repo.split("/")[-1] if results else None,
        ignore_metadata_errors=True,
    )
    return head.to_yaml().strip()
