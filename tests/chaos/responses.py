"""A server between a client and the sandbox that damages the bytes of responses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from random import Random
from typing import TypeAlias

import anyio
import attrs
import httpx

from anytrack_async.sandbox import Sandbox
from tests.transport.raw_server import ServerConnection, response_bytes, serving

Damage: TypeAlias = Callable[[ServerConnection, bytes, Random], Awaitable[bool | None]]
"""Sends a response, or something else instead of it; True closes the connection."""


async def cut_anywhere(connection: ServerConnection, response: bytes, random: Random) -> bool:
    """Close after any number of bytes."""
    await connection.send(response[: random.randrange(len(response))])
    return True


async def cut_by_reset(connection: ServerConnection, response: bytes, random: Random) -> bool:
    """Reset the connection after any number of bytes."""
    await connection.send(response[: random.randrange(len(response))])
    await connection.reset()
    return True


async def crumbs(connection: ServerConnection, response: bytes, random: Random) -> None:
    """Send everything in pieces of 1 to 40 bytes."""
    while response:
        size = random.randint(1, 40)
        await connection.send(response[:size])
        await anyio.lowlevel.checkpoint()
        response = response[size:]


async def twice(connection: ServerConnection, response: bytes, random: Random) -> None:
    """Send the response twice: the next request on the connection must not get the second."""
    await connection.send(response + response)


async def followed_by_garbage(
    connection: ServerConnection, response: bytes, random: Random
) -> None:
    """Send some bytes too many."""
    await connection.send(response + random.randbytes(random.randint(1, 100)))


async def informed(connection: ServerConnection, response: bytes, random: Random) -> None:
    """Send a response of 1xx before the real one, which HTTP allows."""
    await connection.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + response)


async def garbage(connection: ServerConnection, response: bytes, random: Random) -> bool:
    """Send random bytes instead."""
    await connection.send(random.randbytes(random.randint(1, 500)))
    return True


async def long_header(connection: ServerConnection, response: bytes, random: Random) -> bool:
    """Send a header of 300 kB."""
    status, _, rest = response.partition(b"\r\n")
    await connection.send(status + b"\r\nX-Long: " + b"x" * 300_000 + b"\r\n" + rest)
    return True


async def gateway_page(connection: ServerConnection, response: bytes, random: Random) -> None:
    """Send the page of a proxy whose service is gone."""
    status = random.choice((500, 502, 503, 504, 520))
    await connection.send(response_bytes(b"<html>sorry</html>", status, "Content-Type: text/html"))


async def busy(connection: ServerConnection, response: bytes, random: Random) -> None:
    """Ask the client to come back at once, in time, in the past, or in words."""
    after = random.choice(("0", "1", "-5", "Thu, 01 Jan 1970 00:00:00 GMT", "soon", "1e308"))
    await connection.send(response_bytes(b"{}", 429, f"Retry-After: {after}"))


async def silence(connection: ServerConnection, response: bytes, random: Random) -> bool:
    """Send nothing for longer than the client waits."""
    await anyio.sleep(5)
    return True


async def dropped(connection: ServerConnection, response: bytes, random: Random) -> bool:
    """Close without a byte."""
    return True


DAMAGES: Mapping[str, Damage] = {
    function.__name__.replace("_", " "): function
    for function in (
        cut_anywhere,
        cut_by_reset,
        crumbs,
        twice,
        followed_by_garbage,
        informed,
        garbage,
        long_header,
        gateway_page,
        busy,
        silence,
        dropped,
    )
}


@attrs.define
class DamagedResponses:
    """Forwards requests, and damages some of the responses: a handler of `raw_server.serving`.

    Attributes:
        rate: share of the responses, 0 to 1.
    """

    sandbox: Sandbox
    http: httpx.AsyncClient
    damage: Damage
    random: Random
    rate: float

    async def __call__(self, connection: ServerConnection, head: bytes, body: bytes) -> bool | None:
        """Let the sandbox do the work, and answer."""
        response = await self._forward(head, body)
        if self.random.random() < self.rate:
            return await self.damage(connection, response, self.random)
        await connection.send(response)
        return None

    async def _forward(self, head: bytes, body: bytes) -> bytes:
        request, *lines = head.decode("latin-1").strip().split("\r\n")
        method, target, _ = request.split(" ")
        headers = dict(line.split(": ", 1) for line in lines)
        for name in [*headers]:
            if name.lower() in ("host", "content-length", "connection"):
                del headers[name]
        response = await self.http.request(
            method, self.sandbox.url + target, headers=headers, content=body
        )
        kept = [
            f"{name}: {value}"
            for name, value in response.headers.items()
            if name in ("content-type", "retry-after")
        ]
        return response_bytes(response.content, response.status_code, *kept)


@asynccontextmanager
async def damaged(
    sandbox: Sandbox, damage: Damage, random: Random, rate: float
) -> AsyncIterator[tuple[str, DamagedResponses]]:
    """Run the server; yields its URL, and the handler to change the rate."""
    async with httpx.AsyncClient(trust_env=False) as http:
        handler = DamagedResponses(sandbox, http, damage, random, rate)
        async with serving(handler) as server:
            yield server.url, handler
