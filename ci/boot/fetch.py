"""Fetch one hub model into the local cache: `python -m ci.boot.fetch NAME REVISION`.

It prints the folder. What is in the cache already needs no network. A failure ends with
one line on standard error and exit code 1, after seconds rather than the hub client's
minutes of retries. It is a process of its own so that it can be ended at any moment.
"""

from __future__ import annotations

import os
import sys

import httpx

from ci.secrets.veil import beginning, learn_environment

REACH_SECONDS = 5.0


def main(name: str, revision: str) -> int:
    """Fetch and return the exit code."""
    learn_environment(os.environ)
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.pop("HF_HUB_OFFLINE", None)
    try:
        from huggingface_hub import constants, snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    except ImportError:
        from ci.extras import install

        return _fail(f"huggingface_hub is not installed: {install('hub')}")
    try:
        print(snapshot_download(name, revision=revision, local_files_only=True))  # noqa: T201
    except LocalEntryNotFoundError:
        pass
    else:
        return 0
    try:
        httpx.head(constants.ENDPOINT, timeout=REACH_SECONDS)
        print(snapshot_download(name, revision=revision))  # noqa: T201
    except httpx.TransportError as error:
        return _fail(f"the hub {constants.ENDPOINT} can't be reached from here ({error})")
    except HfHubHTTPError as error:
        return _fail(_refusal(error))
    except OSError as error:
        return _fail(f"can't be fetched: {error}")
    return 0


def _refusal(error: Exception) -> str:
    text = beginning(" ".join(str(error).split()), 160)
    if type(error).__name__ == "GatedRepoError" or "401" in text or "403" in text:
        return f"the hub refuses: set HF_TOKEN to a token that may read this model ({text})"
    return f"the hub has no such model or revision ({text})"


def _fail(line: str) -> int:
    print(line, file=sys.stderr)  # noqa: T201
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
