"""The outbox file that the environment names, opened without any lane."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from anytrack_async.client.config import OUTBOX
from anytrack_async.errors import ConfigurationError
from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox


def outbox_path() -> Path:
    """Return the path in ``ANYTRACK_OUTBOX``.

    Raises:
        ConfigurationError: it is not set, or there is no file.
    """
    given = os.environ.get(OUTBOX)
    if not given:
        raise ConfigurationError(
            f"set {OUTBOX} to the path of an outbox file; without it, conversions wait in the "
            "memory of the program that tracks them, where no other program can look"
        )
    path = Path(given)
    if not path.is_file():
        raise ConfigurationError(
            f"{OUTBOX} names {given}, which is no file: the first client that uses it makes it"
        )
    return path


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SQLiteOutbox]:
    """Open the outbox at *path* as it is: no destination is added, nothing is sent."""
    outbox = SQLiteOutbox(path)
    await outbox.open([])
    try:
        yield outbox
    finally:
        await outbox.aclose()
