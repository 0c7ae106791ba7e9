"""Push a prepared dataset to the Hub: shards first, then one commit with card and manifest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from tqdm import tqdm

from data.errors import UserError
from data.hub import hub_errors, writable_repo
from data.prepared.card import CARD, dataset_card
from data.prepared.config import PushConfig
from data.prepared.shards import read_manifest, shard_name
from data.prepared.summary import counted
from data.redact import redacted
from data.selection.config import SELECTOR_PATHS
from data.storage import is_url

AT_ONCE = 8


def push_dataset(config: PushConfig) -> str:
    """Upload the shards that the Hub lacks, and return the URL of its page. A stopped push continues when
    it is run again.

    Raises:
        UserError: no finished dataset, no token, or the Hub refuses.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    path, repo = Path(config.data.path), config.hub.repo
    if is_url(config.data.path):
        raise UserError(f"data.path={path}: give a folder of this machine")
    manifest = read_manifest(path)
    api, found, page = writable_repo(repo, private=config.hub.private, dataset=True)
    with hub_errors(repo, key="hub.repo", dataset=True, writing=True):
        files = {entry.rfilename for entry in found.siblings or ()}
        if files - {".gitattributes", CARD} and "manifest.json" not in files:
            raise UserError(
                f"hub.repo={repo}: holds something that was not pushed from here; choose another"
            )
        on_hub = dict(_shards_on_hub(api, repo))
        names = [shard_name(i) for i in range(manifest["shards"])]
        missing = [n for n in names if on_hub.get(f"data/{n}") != _sha256(path / n)]
        added = [CommitOperationAdd(f"data/{n}", str(path / n)) for n in missing]
        with tqdm(total=len(names), initial=len(names) - len(missing), unit="shard") as bar:
            for some in batched(added):  # the Hub keeps uploaded files: a stopped push can continue
                api.preupload_lfs_files(repo, some, repo_type="dataset")
                bar.update(len(some))
        beside = [name for name in SELECTOR_PATHS if (path / name).is_file()]
        added += [CommitOperationAdd(name, str(path / name)) for name in beside]
        stale = sorted(set(on_hub) - {f"data/{n}" for n in names})
        last = {
            CARD: dataset_card(manifest, repo),
            "manifest.json": json.dumps(redacted(manifest), indent=1) + "\n",
        }
        api.create_commit(  # one commit for all: a reader finds the old dataset or the new one
            repo,
            [
                *added,
                *(CommitOperationAdd(name, text.encode()) for name, text in last.items()),
                *(CommitOperationDelete(name) for name in stale),
            ],
            commit_message=counted(manifest),
            repo_type="dataset",
        )
    return page


def batched(added: Sequence[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(added), AT_ONCE):
        yield list(added[start : start + AT_ONCE])


def _shards_on_hub(api: Any, repo: str) -> Iterator[tuple[str, str]]:
    """(path, SHA-256 of the content) of the shards on the Hub."""
    from huggingface_hub import RepoFile

    for entry in api.list_repo_tree(repo, repo_type="dataset", recursive=True):
        name = PurePosixPath(entry.path)
        if isinstance(entry, RepoFile) and name.match("data/shard-*.parquet"):
            yield entry.path, entry.lfs.sha256 if entry.lfs else ""


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
