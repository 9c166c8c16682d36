"""Closing a client: by its block, after errors, on cancellation, inside a web application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import attrs
import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from anytrack_async import (
    AnyTrackClient,
    Conversion,
    Outcome,
    UndeliveredError,
)
from tests.client.service import QUICK, SALE, Service

pytestmark = pytest.mark.asyncio


# Closing


async def test_leaving_the_block_delivers_submitted_conversions(service: Service):
    async with service.client() as client:
        await client.submit_many(Conversion.lead(order_id=str(number)) for number in range(50))

    assert len(service.requests) == 50


async def test_closing_lists_conversions_lost_with_a_memory_outbox(service: Service):
    service.refuse(503)

    with pytest.raises(UndeliveredError, match="the outbox was only in memory") as caught:
        async with service.client(delivery=attrs.evolve(QUICK, drain=0)) as client:
            await client.submit(SALE)

    assert caught.value.event_ids == {"anytrack": [SALE.event_id]}


async def test_the_next_client_delivers_from_the_outbox_on_disk(service: Service, tmp_path: Path):
    service.refuse(503)
    settings = attrs.evolve(QUICK, drain=0)
    async with service.client(delivery=settings, outbox=tmp_path / "a.db") as client:
        await client.submit(SALE)
    service.answers.clear()

    async with service.client(outbox=tmp_path / "a.db") as client:
        receipt = await client.track_conversion(SALE)

    assert receipt.event_id == SALE.event_id


async def test_a_client_can_be_opened_again(service: Service):
    client = service.client()

    for order in "12":
        async with client:
            await client.track_sale("k1", 5, order_id=order)

    assert len(service.requests) == 2


class OwnError(Exception):
    pass


class OwnGroup(ExceptionGroup[Exception]):
    pass


@pytest.mark.parametrize(
    "own",
    [
        OwnError("mine"),
        ValueError(),
        TimeoutError(),
        SystemExit(3),
        KeyboardInterrupt(),
        OwnGroup("mine", [OwnError()]),
    ],
    ids=lambda one: type(one).__name__,
)
async def test_the_blocks_exception_is_raised_unchanged(own: BaseException, service: Service):
    with pytest.raises(type(own)) as caught:
        await fail_inside(service.client(), own)

    assert caught.value is own
    assert len(service.requests) == 1


async def test_the_blocks_exception_gets_a_note_about_lost_conversions(service: Service):
    service.refuse(503)
    error = OwnError("mine")

    with pytest.raises(OwnError) as caught:
        await fail_inside(service.client(delivery=attrs.evolve(QUICK, drain=0)), error)

    assert caught.value is error
    assert SALE.event_id in "".join(error.__notes__)


async def fail_inside(client: AnyTrackClient, own: BaseException) -> None:
    async with client:
        await client.submit(SALE)
        raise own


async def test_cancelling_the_block_still_delivers(service: Service):
    with anyio.CancelScope() as scope:
        async with service.client() as client:
            await client.submit(SALE)
            scope.cancel()
            await anyio.sleep_forever()

    assert len(service.requests) == 1


# Inside a web application


async def test_a_client_works_in_a_starlette_lifespan(service: Service):
    service.refuse(503, path="/v26.0/p1/events")

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[dict[str, Any]]:
        settings = attrs.evolve(QUICK, drain=5)
        async with service.client(sinks=[service.meta()], delivery=settings) as client:
            yield {"client": client}

    async def buy(request: Request) -> JSONResponse:
        client: AnyTrackClient = request.state.client
        receipt = await client.track_sale(
            "k1", 5, order_id=request.query_params["order"], customer=SALE.customer
        )
        return JSONResponse({"id": receipt.conversion_id})

    app = Starlette(routes=[Route("/buy", buy, methods=["POST"])], lifespan=lifespan)

    async with app.router.lifespan_context(app) as state:
        transport = httpx.ASGITransport(_with_state(app, state))
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as shop:
            answers = []

            async def order(number: int) -> None:
                answers.append(await shop.post("/buy", params={"order": str(number)}))

            async with anyio.create_task_group() as tasks:
                for number in range(10):
                    tasks.start_soon(order, number)
        service.answers.clear()

    assert {answer.json()["id"] for answer in answers} == {f"at-sale:{n}" for n in range(10)}
    events = [event for body in service.bodies("graph.facebook.com") for event in body["data"]]
    assert {event["event_id"] for event in events} == {f"sale:{n}" for n in range(10)}


def _with_state(app: Starlette, state: Any) -> Any:
    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        await app(scope | {"state": dict(state)}, receive, send)

    return wrapped


async def test_a_request_does_not_wait_for_a_slow_destination(service: Service):
    meta, ended = service.meta(), anyio.Event()

    async def slow(batch: Any, /) -> Any:
        await ended.wait()
        return [Outcome.delivered() for _ in batch]

    meta.deliver = slow  # type: ignore[method-assign]

    async with service.client(sinks=[meta]) as client:
        await client.track_conversion(SALE)
        assert (await client.stats()).destinations["meta"].waiting == 1
        ended.set()
