"""`OutboxSource`: the outbox that an application reads: of a client, open already, or at a path."""

from __future__ import annotations

import os

import anyio

from anytrack_async.client.client import AnyTrackClient
from anytrack_async.client.config import keys_from_env, make_outbox
from anytrack_async.client.locations import MEMORY, OutboxLocation
from anytrack_async.errors import ConfigurationError
from anytrack_async.outbox.base import Outbox


class OutboxSource:
    """The outbox of a client, an outbox that is open, or an outbox that the first use opens.

    Args:
        source: a client; an outbox that is open; or the path of an outbox file, or the address of a
            database (``postgresql://…``). ``ANYTRACK_OUTBOX_KEYS`` has the keys of an encrypted
            one.
        user: the beginning of error messages: which object *source* was passed to.

    Attributes:
        client: the client, if *source* is one.
        address: the path or address, if *source* is one.

    Raises:
        ConfigurationError: *source* is none of these.
    """

    def __init__(
        self, source: AnyTrackClient | Outbox | str | os.PathLike[str], *, user: str
    ) -> None:
        self.client = source if isinstance(source, AnyTrackClient) else None
        self.address = source if isinstance(source, str | os.PathLike) else None
        if self.address == MEMORY:
            raise ConfigurationError(
                f"{user}: an outbox in memory has no path; pass the client that uses it"
            )
        self._outbox: Outbox | None = None
        if not isinstance(source, AnyTrackClient | str | os.PathLike):
            self._outbox = make_outbox(source)
        self._opening = anyio.Lock()

    async def outbox(self) -> Outbox:
        """Return the outbox, open.

        Raises:
            OutboxError: it cannot be opened, or its file does not exist.
        """
        if self.client is not None:
            return self.client.outbox
        async with self._opening:
            if self._outbox is None:
                location = OutboxLocation(os.fspath(self.address or ""))
                location = await anyio.to_thread.run_sync(location.check_exists)
                outbox = location.outbox(keys_from_env(), os.environ, create=False)
                await outbox.open([])  # without destinations: nothing is added or sent
                self._outbox = outbox
            return self._outbox

    async def aclose(self) -> None:
        """Close the outbox, if `outbox` opened it; the next call opens it again."""
        async with self._opening:
            if self.address is not None and self._outbox is not None:
                outbox, self._outbox = self._outbox, None
                await outbox.aclose()
