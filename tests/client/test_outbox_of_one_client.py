"""An outbox object belongs to one client at a time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from anytrack_async import (
    ClosedError,
    MemoryOutbox,
    OutboxError,
    SQLiteOutbox,
)
from anytrack_async.delivery.lifecycle import reserved
from tests.client.service import SALE, Service

# Another client


class OwnOutbox:
    """An engine of somebody else, without `attach`, that lets itself be opened twice."""

    def __init__(self) -> None:
        self._inner = MemoryOutbox()

    def __getattr__(self, name: str) -> Any:
        if name in ("attach", "now"):
            raise AttributeError(name)
        return getattr(self._inner, name)

    async def open(self, destinations: Any, *, from_start: Any = ()) -> None:
        await self._inner.aclose()
        await self._inner.open(destinations, from_start=from_start)


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", [MemoryOutbox, SQLiteOutbox, OwnOutbox])
async def test_a_second_client_on_an_outbox_object_is_refused(
    service: Service, tmp_path: Path, kind: Any
):
    outbox = kind(tmp_path / "outbox.db") if kind is SQLiteOutbox else kind()
    first, second = service.client(outbox=outbox), service.client(outbox=outbox)
    await first.start()
    delivery = await first.submit(SALE)
    for _ in range(2):
        with pytest.raises(OutboxError, match=f"another client has this {kind.__name__} open"):
            await second.start()
    await second.aclose()
    with pytest.raises(ClosedError):
        await second.submit(SALE)
    assert (await delivery).delivered
    await first.aclose()
    async with second:
        await second.track_sale("k1", 5, order_id="2")


@pytest.mark.asyncio
async def test_clients_that_start_at_the_same_time_do_not_share_an_outbox(service: Service):
    outbox = MemoryOutbox()
    clients = [service.client(outbox=outbox) for _ in range(3)]
    results = await asyncio.gather(*(client.start() for client in clients), return_exceptions=True)

    assert [type(result) for result in results] == [type(None), OutboxError, OutboxError]
    for client in clients:
        await client.aclose()


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", [MemoryOutbox, SQLiteOutbox])
async def test_a_client_does_not_close_an_outbox_that_the_caller_has_opened(
    service: Service, tmp_path: Path, kind: Any
):
    outbox = kind(tmp_path / "outbox.db") if kind is SQLiteOutbox else kind()
    await outbox.open(["anytrack"])
    with pytest.raises(OutboxError, match="is open already"):
        await service.client(outbox=outbox).start()

    await outbox.append([SALE])
    await outbox.aclose()


def test_an_outbox_is_free_again_after_any_error():
    outbox = OwnOutbox()
    with pytest.raises(LookupError), reserved(outbox, 1):
        raise LookupError
    with reserved(outbox, 1):
        pass
