"""Push a run to the Hub: weights in safetensors, processor, frame policy, record, curves, scores, card."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from tqdm import tqdm

from data.errors import UserError, this_python, warn
from data.hub import hub_errors, writable_repo
from data.locks import owner_of
from data.redact import redacted
from data.selection.config import SELECTOR_PATHS
from train.console import say
from train.evaluation.report.curves import loss_figure
from train.hub.card import model_card
from train.hub.scores import read_scores
from train.run.files import FINGERPRINT, METRICS, POLICY_FILE, RECORD, read_json
from train.run.policy import read_policy
from train.sections import HubKeys

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd

WEIGHTS = (
    "adapter_model.safetensors",
    "model*.safetensors",
    "model.safetensors.index.json",
    "generation_config.json",
)
PROCESSOR = (
    "processor_config.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "tokenizer*.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.*",
)
MADE = ("README.md", "config.yaml", "curves.png", "evaluation.json")
CLEANED = ("adapter_config.json", "config.json", RECORD, POLICY_FILE)
"""Files that may name local folders; these names are removed before the push."""
LARGE = (".safetensors", ".png")


def push_run(run: Path, keys: HubKeys, evaluation: Path | None = None) -> str:
    """Push the files of a run in one commit, and return the URL of the repository's page.

    A stopped push continues when it is run again: the Hub keeps the files that were uploaded.

    Raises:
        UserError: no finished run, no token, no right to write, or the Hub cannot be reached.
    """
    assert keys.repo is not None
    contents = files_to_push(run, keys.repo, evaluation)
    api, about, page = writable_repo(keys.repo, private=keys.private)
    there = {entry.rfilename for entry in about.siblings or ()}
    others = {n for n in there - {".gitattributes", "README.md"} if not n.startswith("checkpoint-")}
    if others and POLICY_FILE not in others:
        raise UserError(
            f"hub.repo={keys.repo}: holds something that was not pushed from here; choose another"
        )
    from huggingface_hub import CommitOperationDelete

    added = _added(contents)
    gone = [
        CommitOperationDelete(name) for name in sorted(_pushed_from_here(others) - contents.keys())
    ]
    with hub_errors(keys.repo, key="hub.repo", writing=True):
        for one in tqdm([a for a in added if a.path_in_repo.endswith(LARGE)], unit="file"):
            api.preupload_lfs_files(keys.repo, [one])
        api.create_commit(keys.repo, [*added, *gone], commit_message=f"Run {run.name}")
    return page


def _pushed_from_here(names: set[str]) -> set[str]:
    """The names that an earlier push may have left. Stale files must go: an old adapter beside a whole
    model would be taken for the model."""
    patterns = (*WEIGHTS, *PROCESSOR, *CLEANED, *MADE, *SELECTOR_PATHS, FINGERPRINT, METRICS)
    return {n for n in names if any(fnmatch(n.removeprefix("base/"), p) for p in patterns)}


def write_card_and_push(run: Path, keys: HubKeys) -> None:
    """Write the card of a saved run, and push the run if `keys` ask for it.

    Raises:
        UserError: it was not pushed; the message says how to do it later.
    """
    name = keys.repo or f"you/{run.name}"
    (run / "README.md").write_text(model_card(run, name), encoding="utf-8")
    if not keys.push:
        return
    try:
        page = push_run(run, keys)
    except UserError as error:
        raise UserError(
            f"{error} (the run itself is saved; later: {this_python()} scripts/push.py run={run} hub.repo={name})"
        ) from None
    say(f"pushed to {page}")


def files_to_push(run: Path, repo: str, evaluation: Path | None = None) -> dict[str, Path | bytes]:
    """Name on the Hub → a local file, or the bytes to upload in its place.

    Raises:
        UserError: the run did not finish, or parts of it are missing.
    """
    if not (run / RECORD).is_file():
        owner = owner_of(run)
        why = f"is still being trained ({owner})" if owner else f"no {RECORD}, so no finished run"
        raise UserError(f"run={run}: {why}")
    scores = read_scores(evaluation, run) if evaluation else None
    record = read_json(run / RECORD)
    folder = record["base"] if record.get("base_is_folder") else None
    if folder is not None and (run / "adapter_config.json").is_file():
        warn(
            f"note: the base model of {run} is the folder {folder}: without it, the adapter can only be used "
            "with model.name=…; scripts/merge.py makes one whole model of both"
        )
    encoder = read_policy(run).frames.encoder
    if encoder is not None and Path(encoder).exists():
        warn(
            f"note: frames of {run} are chosen with the encoder in the folder {encoder}: to describe videos "
            "elsewhere, give the same encoder with frames.encoder=…"
        )
    contents: dict[str, Path | bytes] = dict(_weights(run, "", folder))
    inside = run / "base"
    if inside.is_dir():  # the tiny model
        contents |= dict(_weights(inside, "base/", None))
    for pattern in (*PROCESSOR, FINGERPRINT, METRICS):
        contents |= {file.name: file for file in run.glob(pattern)}
    contents |= {name: run / name for name in SELECTOR_PATHS if (run / name).is_file()}
    settings = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    settings.pop("hub", None)  # a repeated run must not push to this repository
    contents["config.yaml"] = yaml.safe_dump(
        redacted(settings, folder), sort_keys=False, allow_unicode=True
    ).encode()
    if (figure := loss_figure(run)) is not None:
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
        contents["curves.png"] = buffer.getvalue()
    if evaluation is not None:
        told = redacted(read_json(evaluation / "scores.json"))
        contents["evaluation.json"] = (json.dumps(told, indent=1) + "\n").encode()
    contents["README.md"] = model_card(run, repo, scores).encode()
    return contents


def _added(contents: Mapping[str, Path | bytes]) -> list[CommitOperationAdd]:
    from huggingface_hub import CommitOperationAdd

    return [
        CommitOperationAdd(name, content if isinstance(content, bytes) else str(content))
        for name, content in contents.items()
    ]


def _weights(folder: Path, below: str, base: str | None) -> Iterator[tuple[str, Path | bytes]]:
    for pattern in WEIGHTS:
        for file in sorted(folder.glob(pattern)):
            yield below + file.name, file
    for name in CLEANED:
        if (folder / name).is_file():
            told = redacted(read_json(folder / name), base)
            yield below + name, (json.dumps(told, indent=1) + "\n").encode()


def push_checkpoint(folder: Path, keys: HubKeys) -> None:
    """Push a checkpoint's weights to a folder of the repository that is named after the checkpoint.

    Raises:
        UserError: no token, no right to write, or the Hub cannot be reached.
    """
    assert keys.repo is not None
    api, _, _ = writable_repo(keys.repo, private=keys.private)
    about = folder / "adapter_config.json"
    base = read_json(about).get("base_model_name_or_path") if about.is_file() else None
    local = base if base is not None and Path(base).is_dir() else None
    added = _added(dict(_weights(folder, f"{folder.name}/", local)))
    with hub_errors(keys.repo, key="hub.repo", writing=True):
        api.create_commit(keys.repo, added, commit_message=folder.name)
