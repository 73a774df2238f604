"""What the Hugging Face Hub refuses, told apart: there is no such thing, or it was not reached."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from dasd_data.errors import RemoteError, UsageError


@contextlib.contextmanager
def translated(what: str, missing: UsageError) -> Iterator[None]:
    """Turn the Hub's errors into this project's: `missing`, or RemoteError naming `what`."""
    from huggingface_hub.errors import (
        HFValidationError,
        RemoteEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        yield
    except (
        HFValidationError,
        RemoteEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    ) as error:
        raise missing from error
    except OSError as error:  # offline and not in the cache, or the Hub failed
        raise RemoteError(
            f"{what} is no local path, not in the Hub's local cache, and the Hub did not give it "
            f"({type(error).__name__}): try again, or give a folder"
        ) from error
