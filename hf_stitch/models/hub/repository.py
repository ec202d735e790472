"""Saved stitched models by folder or Hub id, and what the Hub says when it refuses, in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hf_stitch.errors import ArtifactError, HubError
from hf_stitch.recipe.names import is_folder, is_path, is_there, local_path

KEPT = (
    "*.safetensors",
    "*.json",
    "*.yaml",
    "*.md",
    "*.html",
    "*.txt",
    "*.model",
    "*.jinja",
    "modeling_hf_stitch.py",
)
"""What belongs to a stitched model: the only files that are pushed and fetched. No pickles."""
WEIGHTS = ("*.safetensors", "*.safetensors.index.json")


def local(name: str | Path, revision: str | None = None, *, weights: bool = True) -> Path:
    """The folder of a saved stitched model: the folder itself, or the local copy of a Hub id, fetched if need be.

    Raises:
        ArtifactError: neither a folder nor the form of a Hub id. HubError: the Hub does not give it.
    """
    folder = local_path(name)
    if is_folder(folder):
        return folder
    text = str(name)
    # What was pushed has an owner in its id: a single word is a folder that is not there.
    if is_there(folder) or is_path(text) or "/" not in text:
        raise ArtifactError(f"{text}: no such folder; expected one that `hf-stitch fit` wrote, or a Hub id")
    from huggingface_hub import snapshot_download

    with explained(text, revision):
        # Reports and processors can be had without gigabytes of weights.
        ignored = None if weights else list(WEIGHTS)
        found = Path(snapshot_download(text, revision=revision, allow_patterns=list(KEPT), ignore_patterns=ignored))
    if not (found / "config.json").is_file():
        raise ArtifactError(f"{text}: the repository holds no config.json; expected one that `hf-stitch push` filled")
    return found


@contextmanager
def explained(repo: str, revision: str | None = None) -> Iterator[None]:
    """Turn what huggingface_hub raises into a HubError that says what to do."""
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        LocalTokenNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    login = "run `hf auth login`, or set HF_TOKEN"
    try:
        yield
    except OfflineModeIsEnabled:
        raise HubError(f"{repo}: HF_HUB_OFFLINE is set, so the Hub is not asked; unset it") from None
    except LocalTokenNotFoundError:
        raise HubError(f"{repo}: no token for the Hub; {login}") from None
    except RevisionNotFoundError:
        raise HubError(f"{repo}: no branch, tag or commit {revision!r} there") from None
    except RepositoryNotFoundError as error:
        if _status(error) == 401:
            raise HubError(
                f"{repo}: no such repository, or it is private and the token is missing or wrong; {login}"
            ) from None
        raise HubError(f"{repo}: no such repository on the Hub, or none that this token may see") from None
    except HFValidationError as error:
        raise HubError(
            f"{repo!r} cannot name a repository ({str(error).splitlines()[0]}); expected NAME/MODEL"
        ) from None
    except LocalEntryNotFoundError:
        raise HubError(f"{repo}: not in the local cache, and the Hub cannot be reached; check the network") from None
    except HfHubHTTPError as error:
        status = _status(error)
        if status in (401, 403):
            raise HubError(
                f"{repo}: the Hub refuses the token ({status}); one that may write is needed: {login}"
            ) from None
        what = str(getattr(error, "server_message", None) or error).strip().splitlines()[0]
        raise HubError(f"{repo}: the Hub answers {status or 'with an error'}: {what}") from None
    except Exception as error:
        if not type(error).__module__.startswith("httpx"):  # the client's HTTP library, whichever of its versions
            raise
        raise HubError(f"{repo}: the Hub cannot be reached ({type(error).__name__}); check the network") from None


def _status(error: Exception) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)
