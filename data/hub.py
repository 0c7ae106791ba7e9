"""Reading from the Hub; each of its errors becomes one line that says how to fix it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec

from data.errors import UserError, first_line

if TYPE_CHECKING:
    from huggingface_hub import HfApi

COMMIT = re.compile(r"[0-9a-f]{40}")
REPO = re.compile(r"([\w.-]+/[\w.-]+)(?:@([\w./-]+))?", re.ASCII)
"""`owner/name`, or `owner/name@` and a branch, tag or commit."""


@contextmanager
def hub_errors(
    repo: str,
    *,
    key: str = "",
    dataset: bool = False,
    revision: str | None = None,
    writing: bool = False,
) -> Iterator[None]:
    """Turn what the Hub's client raises into a UserError. `key` names the setting to blame."""
    from huggingface_hub import get_token
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        HTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    what = f"{key}={repo}" if key else repo
    page = f"https://huggingface.co/{'datasets/' if dataset else ''}{repo}"
    log_in = "`hf auth login`" + ("" if get_token() else " (no token here yet)")
    try:
        yield
    except HFValidationError:
        raise UserError(f"{what}: not a valid Hub id") from None
    except GatedRepoError:
        raise UserError(f"{what}: accept its terms at {page}, then log in with {log_in}") from None
    except RevisionNotFoundError:
        section = key.rsplit(".", 1)[0] or "source"
        raise UserError(f"{section}.revision={revision}: no such revision of {repo}") from None
    except RepositoryNotFoundError:
        kind = "dataset" if dataset else "model"
        raise UserError(
            f"{what}: no such {kind} on the Hub, or no right to read it; see {page}, log in with {log_in}"
        ) from None
    except (LocalEntryNotFoundError, OfflineModeIsEnabled):
        raise UserError(_no_connection(what, writing=writing)) from None
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else None
        if status in (401, 403) and writing:
            raise UserError(
                f"{what}: no right to write there ({status}); `hf auth login` with a token that may write"
            ) from None
        if status in (401, 403):
            raise UserError(
                f"{what}: the Hub refuses ({status}); accept its terms at {page} if it asks for that, "
                f"then log in with {log_in}"
            ) from None
        raise UserError(f"{what}: the Hub answers {status}; try the same command later") from None
    except (HTTPError, ConnectionError):
        raise UserError(_no_connection(what, writing=writing)) from None
    except (RuntimeError, TimeoutError, PermissionError) as error:
        if not writing:
            raise
        # the upload library (hf_xet) raises errors of its own or wraps those of others
        raise UserError(
            f"{what}: not sent ({first_line(error)}); try the same command later"
        ) from None


def _no_connection(what: str, *, writing: bool) -> str:
    if writing:
        return f"{what}: the Hub cannot be reached (no network, or HF_HUB_OFFLINE is set); try again later"
    return unreachable(what)


def repo_folder(name: str, key: str, wanted: Sequence[str]) -> Path:
    """The folder itself, or the local copy of the Hub repository of that name. `key`: the setting to blame;
    `wanted`: patterns of the files to download.

    Raises:
        UserError: neither exists.
    """
    path = Path(name)
    named = REPO.fullmatch(name)
    if path.is_dir():
        return path
    if named is None or path.exists() or Path(name.split("/")[0]).is_dir():
        raise UserError(f"{key}={name}: no such folder")
    from huggingface_hub import snapshot_download

    try:
        with hub_errors(named[1], key=key, revision=named[2]):
            there = snapshot_download(
                named[1],
                revision=named[2],
                allow_patterns=list(wanted),
                ignore_patterns=["checkpoint-*/*"],
            )
    except UserError as error:
        raise UserError(f"{error} (nor is there a folder of that name here)") from None
    return Path(there)


def unreachable(what: str) -> str:
    return (
        f"{what}: cannot be fetched (no network, or HF_HUB_OFFLINE is set) and is not in the local cache; "
        "download it where there is a network and give its folder, or try the same command later"
    )


def dataset_commit(repo: str, revision: str | None, *, key: str = "source.path") -> str:
    """The commit that a branch or tag of a dataset points to now, after a check that it can be read.

    Raises:
        UserError: it does not exist, we may not read it, or there is no network.
    """
    if revision is not None and COMMIT.fullmatch(revision):
        return revision
    from huggingface_hub import HfApi

    with hub_errors(repo, key=key, dataset=True, revision=revision):
        info = HfApi().dataset_info(repo, revision=revision)
        if info.gated:
            HfApi().auth_check(repo, repo_type="dataset")
    assert info.sha is not None
    return info.sha


def writable_repo(repo: str, *, private: bool, dataset: bool = False) -> tuple[HfApi, Any, str]:
    """The repository to push to, created if it does not exist: (client, repository info, page URL).

    Raises:
        UserError: no token, no right to write, or the repository is public although `private` is set.
    """
    from huggingface_hub import HfApi, get_token

    if repo.count("/") != 1:
        raise UserError(f"hub.repo={repo}: write owner/name")
    if get_token() is None:
        raise UserError("no token: `hf auth login`, with a token that may write")
    api, kind = HfApi(), "dataset" if dataset else "model"
    with hub_errors(repo, key="hub.repo", dataset=dataset, writing=True):
        page = api.create_repo(repo, repo_type=kind, private=private, exist_ok=True)
        about = api.repo_info(repo, repo_type=kind)
    if private and not about.private:
        raise UserError(
            f"hub.repo={repo}: is public; hub.private=false says that you mean it, or choose another"
        )
    return api, about, str(page)


def pinned(url: str) -> str:
    """The URL of a dataset on the Hub with its current commit added; any other URL unchanged.

    Raises:
        UserError: it does not exist, we may not read it, or there is no network.
    """
    found = re.fullmatch(r"hf://datasets/([^/@]+/[^/@]+)((?:/.*)?)", url)
    if found is None:
        return url
    return f"hf://datasets/{found[1]}@{dataset_commit(found[1], None, key='data.path')}{found[2]}"


def dataset_files(repo: str, commit: str) -> list[str]:
    """Paths of all files of a dataset at a commit, sorted.

    Raises:
        UserError: it does not exist, we may not read it, or there is no network.
    """
    from huggingface_hub import HfApi

    with hub_errors(repo, key="source.path", dataset=True):
        return sorted(HfApi().list_repo_files(repo, repo_type="dataset", revision=commit))


def opened(url: str) -> Any:
    """A seekable binary file, local or behind a URL; only the bytes that are read are transferred."""
    return fsspec.open(url, "rb").open()


@contextmanager
def reading(url: str) -> Iterator[None]:
    """Context for reading `url`: an error of the Hub becomes a one-line UserError."""
    found = re.match(r"hf://datasets/([^/@]+/[^/@]+)", url)
    with hub_errors(found[1] if found else url, dataset=True):
        yield
