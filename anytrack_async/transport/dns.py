"""`Resolver`: looks up the addresses of hosts in its own threads, and remembers them for a while.

`socket.getaddrinfo` may hang for minutes and cannot be cancelled. In the event loop's own thread
pool, a few such calls stop whatever else the application runs there.
"""

from __future__ import annotations

import os
import socket
import time
from asyncio import AbstractEventLoop, get_running_loop
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from copy import copy
from ipaddress import ip_address
from math import inf
from threading import Lock, Thread
from typing import NamedTuple

import anyio
import attrs

_MAX_THREADS = 16
_MAX_HOSTS = 256
_FRESH_TIME = 60.0
"""Seconds for which addresses are used without another look-up."""
_FAILURE_TIME = 1.0
"""Seconds for which a failure is repeated without another look-up."""
_HUNG_TIME = 5.0
"""Seconds after which a look-up counts as hung."""

# Old addresses are better than none. Source: RFC 8767, section 5, which recommends both times.
_STALE_TIME = 86_400.0
_PATIENCE = 1.8


class Address(NamedTuple):
    """An IP address of a host.

    Attributes:
        family: of the socket to connect with.
        ip: the address; of IPv6 with its scope, if it has one.
    """

    family: socket.AddressFamily
    ip: str


@attrs.define(eq=False)
class _Lookup:
    """A call of `getaddrinfo`; tasks of several event loops may wait for its result."""

    host: str
    asked_at: float
    started_at: float = inf
    ended_at: float = inf
    addresses: Sequence[Address] = ()
    error: Exception | None = None
    waiters: set[tuple[AbstractEventLoop, anyio.Event]] = attrs.field(factory=set)

    def result(self) -> Sequence[Address]:
        if self.error is not None:
            raise copy(self.error)  # a task adds its traceback to an error that it raises
        return self.addresses


@attrs.define(eq=False)
class _Host:
    """The last addresses of a host, and its last look-up, which may have failed since."""

    addresses: Sequence[Address] = ()
    found_at: float = -inf
    lookup: _Lookup | None = None


class Resolver:
    """Looks up the addresses of hosts, one look-up per host at a time.

    Addresses are used for a minute, failures are repeated for a second. If a look-up fails or is
    slow, the addresses found before are used for up to a day. Found at 12:00:00, they are used
    until 12:01:00. The next task asks at 12:05:00.0, and the look-up hangs: that task gets the old
    addresses at 12:05:01.8, and all tasks after it get them at once, until the look-up ends.

    A look-up runs in a daemon thread, so that one that hangs stops neither the other hosts nor the
    end of the process. When all threads are busy, look-ups wait for one.

    Args:
        clock: seconds that never go back.
        max_threads: the most look-ups that run at the same time.
        patience: seconds after which old addresses are used instead of waiting for new ones.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        max_threads: int = _MAX_THREADS,
        patience: float = _PATIENCE,
    ) -> None:
        self._clock = clock
        self._max_threads = max_threads
        self._patience = patience
        self._lock = Lock()  # of everything below, for event loops and threads
        self._hosts: dict[str, _Host] = {}
        self._running: set[_Lookup] = set()
        self._queue: deque[_Lookup] = deque()

    async def resolve(self, host: str) -> Sequence[Address]:
        """Return the addresses of *host*, at least one, in the order of the operating system.

        A cancelled task leaves the look-up to other tasks.

        Args:
            host: a name, or an IP address as text.

        Raises:
            OSError: the host has no addresses (`socket.gaierror`), or too many look-ups hang.
        """
        now = self._clock()
        with self._lock:
            entry = self._entry(host)
            if now - entry.found_at < _FRESH_TIME:
                return entry.addresses
            old = entry.addresses if now - entry.found_at < _STALE_TIME else ()
        try:
            with self._lock:
                lookup = entry.lookup = self._join(entry.lookup, host, now)
            limit = lookup.asked_at + self._patience - now if old else inf
            with anyio.move_on_after(limit):
                return await self._wait(lookup)
        except OSError:
            if not old:
                raise
        return old

    def _entry(self, host: str) -> _Host:
        if (entry := self._hosts.get(host)) is None:
            while len(self._hosts) >= _MAX_HOSTS:
                del self._hosts[next(iter(self._hosts))]
            entry = self._hosts[host] = _Host()
        return entry

    def _join(self, last: _Lookup | None, host: str, now: float) -> _Lookup:
        if last is None or now - last.ended_at >= _FAILURE_TIME:
            lookup = _Lookup(host, now)
            self._start(lookup, now)
            return lookup
        if last.started_at == inf:
            self._check_threads(host, now)
        return last

    def _start(self, lookup: _Lookup, now: float) -> None:
        if len(self._running) >= self._max_threads:
            self._check_threads(lookup.host, now)
            self._queue.append(lookup)
            return
        thread = Thread(target=self._work, args=(lookup,), name="anytrack-dns", daemon=True)
        try:
            thread.start()
        except RuntimeError as exc:  # the process has too many threads, or is about to end
            raise OSError(f"cannot look up {lookup.host}: no thread can be started") from exc
        lookup.started_at = now
        self._running.add(lookup)

    def _check_threads(self, host: str, now: float) -> None:
        if all(now - lookup.started_at >= _HUNG_TIME for lookup in self._running):
            count = len(self._running)
            raise OSError(f"cannot look up {host}: the look-ups of {count} other hosts hang")

    async def _wait(self, lookup: _Lookup) -> Sequence[Address]:
        waiter = get_running_loop(), anyio.Event()
        with self._lock:
            if lookup.ended_at < inf:
                return lookup.result()
            lookup.waiters.add(waiter)
        try:
            await waiter[1].wait()
        finally:
            with self._lock:
                lookup.waiters.discard(waiter)
        return lookup.result()

    # In the threads

    def _work(self, lookup: _Lookup | None) -> None:
        while lookup is not None:
            try:
                lookup.addresses = look_up(lookup.host)
            except Exception as exc:
                lookup.error = exc.with_traceback(None)
            lookup = self._finish(lookup)

    def _finish(self, lookup: _Lookup) -> _Lookup | None:
        with self._lock:
            lookup.ended_at = now = self._clock()
            self._running.discard(lookup)
            entry = self._hosts.get(lookup.host)
            if entry is not None and lookup.error is None:
                entry.addresses, entry.found_at = lookup.addresses, now
            following = self._queue.popleft() if self._queue else None
            if following is not None:
                following.started_at = now
                self._running.add(following)
            waiters = tuple(lookup.waiters)
        for loop, event in waiters:
            with suppress(RuntimeError):  # the event loop is closed, and its tasks are gone
                loop.call_soon_threadsafe(event.set)
        return following


def look_up(host: str) -> Sequence[Address]:
    """Ask the operating system for the addresses of *host*; blocks.

    Raises:
        OSError: the host has no addresses.
    """
    # As bytes: Python's codec for text raises `UnicodeError` for names that are too long.
    name = host.encode("ascii" if host.isascii() else "idna")
    results = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    # A Python without IPv6 returns such addresses as numbers.
    addresses = dict.fromkeys(
        Address(family, _with_scope(*sockaddr))
        for family, _, _, _, sockaddr in results
        if isinstance(sockaddr[0], str)
    )
    if not addresses:
        raise socket.gaierror(socket.EAI_NONAME, "the host has no usable address")
    return tuple(addresses)


def _with_scope(ip: str, _port: int, _flow: int = 0, scope: int = 0) -> str:
    return f"{ip.partition('%')[0]}%{scope}" if scope else ip


# The resolver of the process


_shared = Resolver()


def _replace_shared() -> None:
    # A forked process has none of the threads, and perhaps a lock that nothing will release.
    global _shared
    _shared = Resolver()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_replace_shared)


async def resolve(host: str) -> Sequence[Address]:
    """Return the addresses of *host*: see `Resolver.resolve`. An IP address needs no look-up."""
    try:
        literal = ip_address(host)
    except ValueError:
        return await _shared.resolve(host)
    family = socket.AF_INET if literal.version == 4 else socket.AF_INET6
    return (Address(family, str(literal)),)
