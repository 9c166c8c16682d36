"""`ConsoleSource`: the client, open outbox or outbox file that the console shows and changes."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from anytrack_async.client.client import AnyTrackClient
from anytrack_async.client.dead_letters import not_dead_reason, to_filter
from anytrack_async.client.locations import MEMORY
from anytrack_async.client.source import OutboxSource
from anytrack_async.client.stats import DestinationStats
from anytrack_async.errors import ConfigurationError, InvalidArgumentError
from anytrack_async.models.conversion import Conversion
from anytrack_async.outbox.base import Outbox
from anytrack_async.outbox.dead_letters import Action, SearchesDeadLetters
from anytrack_async.outbox.pauses import Pause, read_pauses, save_pause

if TYPE_CHECKING:
    from anytrack_async.web_console.selection import LetterSelection

_BETWEEN_STEPS = 0.02
"""Seconds between two steps of a change of many dead letters."""


class ConsoleSource(OutboxSource):
    """A client, an outbox that is open, or an outbox that the first request opens.

    Without a client, all data of the outbox can be read, and dead letters can be changed;
    the state of a lane is known only to the client that has the lane.

    Args:
        source: a client, an outbox, or the path or DSN of an outbox.

    Attributes:
        client: the client, if *source* is one.

    Raises:
        ConfigurationError: *source* is none of these.
    """

    def __init__(self, source: AnyTrackClient | Outbox | str | os.PathLike[str]) -> None:
        super().__init__(source, user="console")

    @property
    def name(self) -> str:
        """The outbox's name for people: the name of its file, or its kind; never a DSN."""
        outbox = self.client.outbox if self.client else self._outbox
        path = getattr(outbox, "path", None)
        if path is None and self.address is not None and not _is_dsn(self.address):
            path = self.address
        if path is not None:
            return Path(path).name
        return type(outbox).__name__ if outbox is not None else "outbox"

    @asynccontextmanager
    async def reader(self) -> AsyncGenerator[AnyTrackClient, None]:
        """Open a client for reading from AnyTrack: the source's, or one of the environment.

        Raises:
            ConfigurationError: the environment has no credentials for AnyTrack.
        """
        if self.client is not None:
            yield self.client
            return
        async with AnyTrackClient.from_env(outbox=MEMORY, log=False) as client:
            yield client

    async def lanes(self) -> Mapping[str, DestinationStats]:
        """Return destination → its counters and its lane's state; empty without a client."""
        if self.client is None:
            return {}
        return (await self.client.stats()).destinations

    async def pauses(self) -> Mapping[str, Pause]:
        """Return destination → its pause, of those that an operator has paused."""
        if self.client is not None:
            lanes = await self.lanes()
            return {name: lane.pause for name, lane in lanes.items() if lane.pause is not None}
        outbox = await self.outbox()
        return await read_pauses(outbox, await outbox.destinations())

    # Changes. Through the client where there is one, because that wakes its lanes.

    async def change(self, action: Action, destination: str, event_ids: Sequence[str]) -> int:
        """Replay or discard single dead letters of a destination; return their number."""
        outbox = await self.outbox()
        function = outbox.replay if action == "replay" else outbox.discard
        count = await function(destination, event_ids)
        await self._wake_lanes()
        return count

    async def change_all(
        self, action: Action, selection: LetterSelection
    ) -> AsyncGenerator[int, None]:
        """Replay or discard all that match, and yield the number of each step.

        Between two steps, lanes and other programs get their turn.
        """
        outbox, where = await self.outbox(), to_filter(selection.condition)
        destination = selection.destination
        for name in [destination] if destination else await outbox.destinations():
            if not isinstance(outbox, SearchesDeadLetters):
                function = outbox.replay if action == "replay" else outbox.discard
                yield await function(name, where=where)
                await self._wake_lanes()
                continue
            after: int | None = 0
            while after is not None:
                step = await outbox.change_dead_letters(action, name, where, after=after)
                after = step.after
                yield step.count
                await self._wake_lanes()
                await anyio.sleep(_BETWEEN_STEPS)

    async def _wake_lanes(self) -> None:
        """Let the lanes of this process look for conversions that became due."""
        if self.client is not None:
            await self.client.replay(event_ids=())

    async def pause(self, destination: str, by: str, reason: str) -> None:
        """Pause a destination in every process on the outbox.

        Raises:
            ConfigurationError: the outbox cannot keep a pause, and there is no client.
        """
        if self.client is not None and destination in self.client.sinks:
            self.client.pause(destination, reason, by=by)
            return
        pause = Pause(destination=destination, since=time.time(), by=by, reason=reason)
        await self._save_pause(destination, pause)

    async def resume(self, destination: str) -> None:
        """End a pause, and let a lane of this process try again at once; see `pause`."""
        if self.client is not None and destination in self.client.sinks:
            self.client.resume(destination)
        else:
            await self._save_pause(destination, None)

    async def _save_pause(self, destination: str, pause: Pause | None) -> None:
        if not await save_pause(await self.outbox(), destination, pause):
            raise ConfigurationError("nothing was changed: this outbox cannot keep a pause")

    async def correct(self, conversion: Conversion) -> Sequence[str]:
        """Replace a dead letter's conversion; return the destinations that it is sent to again.

        Raises:
            InvalidArgumentError: the conversion is no longer a dead letter.
        """
        event_id = conversion.event_id
        if self.client is not None:
            return await self.client.edit(event_id, conversion)
        outbox = await self.outbox()
        destinations = await outbox.correct(conversion)
        if not destinations:
            raise InvalidArgumentError("event_id", await not_dead_reason(outbox, event_id))
        return destinations


def _is_dsn(address: str | os.PathLike[str]) -> bool:
    return isinstance(address, str) and "://" in address
