"""The contract suite of outboxes that several machines share: tests for an outbox on a server.

Test your own outbox by subclassing `SharedOutboxContract` in a test file::

    class TestMyOutbox(SharedOutboxContract):
        server = ("127.0.0.1", 5432)

        def make(self, folder, clock, capacity): ...
        def make_through(self, port, clock, timeout): ...
        def begin(self): ...
        async def crash(self): ...

An outbox that shares a file has no server: subclass ``OutboxContract`` and ``SharingRules``.
It needs ``pytest`` and ``pytest-asyncio``.
"""

from __future__ import annotations

from anytrack_async.testing.outbox_contract import OutboxContract
from anytrack_async.testing.outbox_rules.joining import CallersTransaction, JoiningRules
from anytrack_async.testing.outbox_rules.network import CrashRules, NetworkRules
from anytrack_async.testing.outbox_rules.sharing import SharingRules

__all__ = ["CallersTransaction", "SharedOutboxContract", "SharedRules", "SharingRules"]


class SharedRules(JoiningRules, NetworkRules, CrashRules):
    """The rules about sharing an outbox on a server, without those of `Outbox`."""


class SharedOutboxContract(OutboxContract, SharedRules):
    """Every rule of `Outbox`, and every rule about sharing one on a server, as a test.

    Beside ``make``, a subclass implements:

    ``make_again(folder, clock, capacity)`` returns a second outbox on the store of ``make``. By
    default it calls ``make`` again.

    ``server`` is the address of the server, and ``make_through(port, clock, timeout)`` returns an
    outbox on the store of ``make`` that connects to a port of 127.0.0.1 instead, where a proxy
    passes everything on, or not. Its calls fail after *timeout* seconds without an answer.

    ``begin()`` begins a transaction of a caller: an asynchronous context manager of a
    `CallersTransaction`.

    ``crash()`` kills the server and starts it again.
    """
