"""A network between an outbox and its server, which tests cut and silence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from psycopg import conninfo


class Proxy:
    """Forwards connections to a server.

    Attributes:
        dsn: the address of the same database through the proxy.
        is_silent: whether everything is swallowed, in both directions.
        cuts_answer_to: a word; once a message to the server has it, the answer is not passed on,
            and the connection is cut instead.
    """

    def __init__(self, dsn: str) -> None:
        address = conninfo.conninfo_to_dict(dsn)
        self._host, self._port = str(address["host"]), int(address["port"] or 5432)
        self._user, self._name = address["user"], address["dbname"]
        self.is_silent = False
        self.cuts_answer_to: bytes | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.dsn = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Proxy]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        self.dsn = f"postgresql://{self._user}@127.0.0.1:{port}/{self._name}"
        try:
            yield self
        finally:
            server.close()
            for writer in [*self._writers]:
                writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection(self._host, self._port)
        self._writers |= {writer, server_writer}
        cutting = asyncio.Event()

        async def forward() -> None:
            while data := await reader.read(2**16):
                if self.cuts_answer_to and self.cuts_answer_to in data:
                    self.cuts_answer_to = None
                    cutting.set()
                if not self.is_silent:
                    server_writer.write(data)
            server_writer.close()

        async def answer() -> None:
            while data := await server_reader.read(2**16):
                if cutting.is_set():
                    writer.transport.abort()
                    return
                if not self.is_silent:
                    writer.write(data)
            writer.close()

        with suppress(OSError):
            await asyncio.gather(forward(), answer())
