"""`names`: host names whose look-ups a test controls."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
import pytest_asyncio

from anytrack_async.transport import dns

# Contract suites are no test files, and pytest explains the assertions of those only.
pytest.register_assert_rewrite(
    "tests.transport.engine_contract", "tests.transport.filtering_contract"
)


class Names:
    """Stands in for `socket.getaddrinfo`, with a new resolver for the process.

    Attributes:
        ips: the addresses of each host in `.test`; the others there do not exist.
        asked: the hosts of all look-ups, in order.
    """

    def __init__(self) -> None:
        self.ips: dict[str, list[str]] = {}
        self.asked: list[str] = []
        self._gates: dict[str, threading.Event] = {}
        self._asked = anyio.Event()
        self._getaddrinfo = socket.getaddrinfo
        self._loop = asyncio.get_running_loop()

    def hang(self, host: str) -> None:
        """Let look-ups of *host* hang until it is released."""
        self._gates[host] = threading.Event()

    def release(self, host: str) -> None:
        """Let look-ups of *host* go on."""
        self._gates.pop(host).set()

    def release_all(self) -> None:
        """Let all look-ups go on."""
        for host in [*self._gates]:
            self.release(host)

    async def all_asked(self, *hosts: str) -> None:
        """Wait until a look-up of each of *hosts* has begun."""
        while not set(hosts) <= set(self.asked):
            await self._asked.wait()
            self._asked = anyio.Event()

    def getaddrinfo(self, name: Any, *args: Any, **options: Any) -> Any:
        """Return what the test has defined for a host in `.test`; other hosts are real."""
        host = name.decode() if isinstance(name, bytes) else str(name)
        if not host.endswith(".test"):
            return self._getaddrinfo(name, *args, **options)
        self.asked.append(host)
        self._loop.call_soon_threadsafe(lambda: self._asked.set())
        if gate := self._gates.get(host):
            gate.wait(30)
        if host not in self.ips:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (ip, 0, 0, 0))
            if ":" in ip
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 0))
            for ip in self.ips[host]
        ]


@pytest_asyncio.fixture
async def names(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Names]:
    names = Names()
    monkeypatch.setattr(socket, "getaddrinfo", names.getaddrinfo)
    monkeypatch.setattr(dns, "_shared", dns.Resolver())
    yield names
    names.release_all()
