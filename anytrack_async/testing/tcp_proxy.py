"""`TcpProxy`: a connection that is cut, or swallows everything, in the moment that a test says."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Self

_CHUNK = 65_536


class TcpProxy:
    """Passes bytes between clients and a server, until it is told otherwise.

        async with TcpProxy("127.0.0.1", 5432) as proxy:
            connect(port=proxy.port)
            proxy.swallow()

    Args:
        host: the server.
        port: its port.

    Attributes:
        port: the proxy's own port on 127.0.0.1.
    """

    def __init__(self, host: str, port: int) -> None:
        self._server_address = (host, port)
        self._listener: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._answers: int | None = None
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.port = 0

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._listener is not None:
            self._listener.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # What a test says

    def pass_on(self) -> None:
        """Pass everything on again."""
        self._answers = None
        self._flowing.set()

    def swallow(self) -> None:
        """Take everything and pass nothing on, in both directions, also on new connections."""
        self._flowing.clear()

    def cut(self) -> None:
        """End every connection now."""
        for writer in self._writers:
            writer.transport.abort()

    def cut_after(self, answers: int) -> None:
        """End a connection after so many answers from now on: the next one is lost."""
        self._answers = answers

    # Connections

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a handler is a task
        self._tasks.add(task)
        self._writers.add(writer)
        with suppress(OSError):
            server_reader, server_writer = await asyncio.open_connection(*self._server_address)
            self._writers.add(server_writer)
            with suppress(asyncio.CancelledError):
                await asyncio.gather(
                    self._copy(reader, server_writer),
                    self._copy(server_reader, writer, are_answers=True),
                )
            self._writers.discard(server_writer)
            server_writer.transport.abort()
        self._writers.discard(writer)
        writer.transport.abort()
        self._tasks.discard(task)

    async def _copy(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        are_answers: bool = False,
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(_CHUNK):
                await self._flowing.wait()
                if are_answers and self._answers is not None:
                    self._answers -= 1
                    if self._answers < 0:
                        break
                writer.write(data)
                await writer.drain()
        writer.transport.abort()
        if are_answers:
            self.cut()
