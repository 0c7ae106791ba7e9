"""Reading from the Hub, and every refusal of it as one line with its remedy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import fsspec

from data.errors import UserError, first_line

if TYPE_CHECKING:
    from huggingface_hub import HfApi

COMMIT = re.compile(r"[0-9a-f]{40}")


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
        raise UserError(_away(what, writing=writing)) from None
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
        raise UserError(_away(what, writing=writing)) from None
    except (RuntimeError, TimeoutError, PermissionError) as error:
        if not writing:
            raise
        # what sends files has errors of its own (hf_xet) or wraps those of others
        raise UserError(
            f"{what}: not sent ({first_line(error)}); try the same command later"
        ) from None


def _away(what: str, *, writing: bool) -> str:
    if writing:
        return f"{what}: the Hub cannot be reached (no network, or HF_HUB_OFFLINE is set); try again later"
    return unreachable(what)


def unreachable(what: str) -> str:
    return (
        f"{what}: cannot be fetched (no network, or HF_HUB_OFFLINE is set) and is not in the local cache; "
        "download it where there is a network and give its folder, or try the same command later"
    )


def dataset_commit(repo: str, revision: str | None, *, key: str = "source.path") -> str:
    """The commit that a branch or tag of a dataset stands for now, checked to be readable.

    Raises:
        UserError: not there, not ours to read, or no network.
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
    """The repository to push to, made if need be: the client, what is known of it, its page.

    Raises:
        UserError: no token, no right, or it is public where a private one is meant.
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
    """An address on the Hub with the commit it stands for now; any other as it is.

    Raises:
        UserError: not there, not ours to read, or no network.
    """
    found = re.fullmatch(r"hf://datasets/([^/@]+/[^/@]+)((?:/.*)?)", url)
    if found is None:
        return url
    return f"hf://datasets/{found[1]}@{dataset_commit(found[1], None, key='data.path')}{found[2]}"


def dataset_files(repo: str, commit: str) -> list[str]:
    """
    Raises:
        UserError: not there, not ours to read, or no network.
    """
    from huggingface_hub import HfApi

    with hub_errors(repo, key="source.path", dataset=True):
        return sorted(HfApi().list_repo_files(repo, repo_type="dataset", revision=commit))


def opened(url: str) -> Any:
    """A seekable binary file, local or behind a URL; only what is asked of it is transferred."""
    return fsspec.open(url, "rb").open()


@contextmanager
def reading(url: str) -> Iterator[None]:
    """Around reads of `url`: a Hub that refuses or is away ends the run with one line."""
    found = re.match(r"hf://datasets/([^/@]+/[^/@]+)", url)
    with hub_errors(found[1] if found else url, dataset=True):
        yield
