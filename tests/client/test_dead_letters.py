"""The client reads, replays, edits and discards dead letters, and lets them expire."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import attrs
import orjson
import pytest

from anytrack_async import (
    AnyTrackClient,
    Conversion,
    Customer,
    DeadLetter,
    DeadLetterError,
    InvalidArgumentError,
    InvalidConversionError,
    OutboxError,
    SQLiteOutbox,
    Status,
)
from anytrack_async.events import DeadLettered, DeadLettersExpired
from anytrack_async.observers import LoggingObserver
from anytrack_async.outbox.memory.outbox import MemoryOutbox
from anytrack_async.testing.outbox_contract import Clock
from tests.client.service import QUICK, Service

pytestmark = pytest.mark.asyncio

JANE = Customer(email="jane@example.com")
SALES = [
    Conversion.sale(order_id=f"{number}", revenue=number, customer=JANE) for number in range(1, 6)
]


async def refused(client: AnyTrackClient, service: Service, *sales: Conversion) -> None:
    """Let AnyTrack refuse *sales*, then accept everything again."""
    service.refuse(422, "click too old")
    for sale in sales or SALES:
        await (await client.submit(sale))
    service.answers.clear()


async def event_ids(client: AnyTrackClient, *args: Any, **selection: Any) -> list[str]:
    return [letter.event_id async for letter in client.dead_letters(*args, **selection)]


async def delivered(client: AnyTrackClient, event_id: str) -> None:
    with anyio.fail_after(10):
        while not (await client.outbox.reports([event_id]))[event_id].delivered:
            await anyio.wait_all_tasks_blocked()


# Reading


async def test_dead_letters_are_read_page_by_page(service: Service, monkeypatch):
    monkeypatch.setattr("anytrack_async.client.dead_letters._PAGE_SIZE", 2)
    async with service.client() as client:
        await refused(client, service)

        assert await event_ids(client) == [sale.event_id for sale in SALES]
        assert await event_ids(client, "anytrack", ["sale:2", "sale:9"]) == ["sale:2"]


async def test_a_dead_letter_says_when_and_why(service: Service):
    before = datetime.now(UTC)
    async with service.client() as client:
        await refused(client, service, SALES[0])
        (letter,) = [letter async for letter in client.dead_letters()]

    assert isinstance(letter, DeadLetter)
    assert letter.conversion == SALES[0]
    assert "too old" in letter.error
    assert before <= letter.died <= datetime.now(UTC)


async def test_dead_letters_are_selected_by_reason_and_age(service: Service):
    clock = Clock()
    async with service.client(outbox=MemoryOutbox(clock=clock)) as client:
        await refused(client, service, SALES[0])
        clock.advance(3600)
        first_hour = datetime.fromtimestamp(clock.now - 1, UTC)
        await refused(client, service, SALES[1])
        clock.advance(1)
        hour = timedelta(hours=1)

        assert await event_ids(client, text="TOO OLD") == ["sale:1", "sale:2"]
        assert await event_ids(client, text="unheard of") == []
        assert await event_ids(client, code="unheard of") == []
        assert await event_ids(client, older_than=hour) == ["sale:1"]
        assert await event_ids(client, newer_than=hour) == ["sale:2"]
        assert await event_ids(client, older_than=first_hour) == ["sale:1"]
        assert await event_ids(client, newer_than=first_hour) == ["sale:2"]


@pytest.mark.parametrize(
    "selection",
    [
        {"older_than": 3600},
        {"newer_than": datetime(2026, 1, 1)},
        {"older_than": "1h"},
        {"text": 7},
        {"code": 280},
    ],
)
async def test_what_selects_nothing_is_refused(service: Service, selection: dict[str, Any]):
    async with service.client() as client:
        (name,) = selection
        for call in (client.replay, client.discard):
            with pytest.raises(InvalidArgumentError, match=f"^{name} must be"):
                await call(**selection)
        with pytest.raises(InvalidArgumentError, match=f"^{name} must be"):
            await event_ids(client, **selection)
        with pytest.raises(TypeError, match="unexpected keyword arguments: reason"):
            await client.replay(reason="too old")  # type: ignore[call-arg]


# Replaying


async def test_a_sleeping_lane_sends_a_replayed_conversion_at_once(service: Service):
    async with service.client() as client:
        await refused(client, service)

        assert await client.replay(event_ids=["sale:2"]) == 1
        await delivered(client, "sale:2")
        assert await client.replay("anytrack", text="too old") == 4
        await delivered(client, "sale:5")
        assert await event_ids(client) == []


# Discarding


async def test_discarded_dead_letters_are_never_sent(service: Service):
    async with service.client() as client:
        await refused(client, service)
        requests = len(service.requests)

        assert await client.discard(event_ids=["sale:1", "sale:9"]) == 1
        assert await client.discard("anytrack", text="too old") == 4
        assert await client.replay() == 0
        delivery = await client.submit(SALES[0])
        assert (await delivery).outcomes["anytrack"].status is Status.DISCARDED
        with pytest.raises(DeadLetterError, match="sale:1"):
            await client.track_sale(order_id="1", revenue=1)

    assert len(service.requests) == requests


async def test_discarding_everything_must_be_said(service: Service):
    async with service.client() as client:
        await refused(client, service, SALES[0])

        with pytest.raises(InvalidArgumentError, match="everything must be True"):
            await client.discard()
        assert await event_ids(client) == ["sale:1"]
        assert await client.discard(everything=True) == 1


# Editing


def sent_to_anytrack(service: Service) -> Any:
    return orjson.loads(service.last.content)


async def test_an_edited_conversion_is_sent_under_the_same_event_id(service: Service):
    async with service.client() as client:
        await refused(client, service, SALES[0])

        assert list(await client.edit("sale:1", revenue="49.90", order_id="1001")) == ["anytrack"]
        await delivered(client, "sale:1")

        body = sent_to_anytrack(service)
        assert (body["revenue"], body["custom_data"]["event_id"]) == (49.9, "sale:1")
        # From now on, the corrected values are those of the conversion.
        repeat = attrs.evolve(SALES[0], revenue="49.90", event_id="sale:1")
        assert (await client.submit(repeat)).contradicts is None
        assert (await client.submit(SALES[0])).contradicts is not None


async def test_only_the_destination_that_rejected_gets_the_edited_one(service: Service):
    async with service.client(sinks=[service.meta()]) as client:
        await refused(client, service, SALES[0])
        meta = service.bodies("graph.facebook.com")

        await client.edit("sale:1", attrs.evolve(SALES[0], currency="EUR"))
        await delivered(client, "sale:1")

    assert service.bodies()[-1]["currency"] == "EUR"
    assert len(meta) == 1
    assert service.bodies("graph.facebook.com") == meta


async def test_an_invalid_change_changes_nothing(service: Service):
    async with service.client() as client:
        await refused(client, service, SALES[0])

        with pytest.raises(InvalidConversionError, match="revenue"):
            await client.edit("sale:1", revenue="-1")
        with pytest.raises(TypeError):
            await client.edit("sale:1", colour="red")
        for arguments in ((), (SALES[0],)):
            changes = {"revenue": 3} if arguments else {}
            with pytest.raises(TypeError, match="either a conversion or the fields"):
                await client.edit("sale:1", *arguments, **changes)
        with pytest.raises(InvalidArgumentError, match="must have the event id 'sale:1'"):
            await client.edit("sale:1", SALES[1])

        (letter,) = [letter async for letter in client.dead_letters()]
        assert letter.conversion == SALES[0]


async def test_only_a_dead_letter_can_be_edited(service: Service):
    async with service.client() as client:
        await (await client.submit(SALES[0]))

        with pytest.raises(InvalidArgumentError, match=r"'sale:1' is no .*anytrack: delivered"):
            await client.edit("sale:1", revenue=7)
        with pytest.raises(InvalidArgumentError, match=r"'sale:1' is no .*anytrack: delivered"):
            await client.edit("sale:1", attrs.evolve(SALES[0], revenue=7))
        with pytest.raises(InvalidArgumentError, match="'sale:9' is not known to the outbox"):
            await client.edit("sale:9", revenue=7)


async def test_a_client_that_shares_the_file_sends_what_another_edits(service: Service, tmp_path):
    path = tmp_path / "outbox.db"
    async with service.client(outbox=path) as client:
        await refused(client, service, SALES[0])
        operator = SQLiteOutbox(path)
        await operator.open([])
        assert await operator.correct(attrs.evolve(SALES[0], revenue=7)) == ["anytrack"]
        await operator.aclose()
        await delivered(client, "sale:1")

    assert sent_to_anytrack(service)["revenue"] == 7


async def test_a_destination_that_the_outbox_does_not_have_is_an_error(service: Service):
    async with service.client() as client:
        for call in (client.replay, client.discard):
            with pytest.raises(OutboxError, match="pigeon"):
                await call("pigeon")


# Expiring and the log


class Remembering:
    def __init__(self) -> None:
        self.events: list[Any] = []
        self.expired = anyio.Event()

    def notify(self, event: Any, /) -> None:
        self.events.append(event)
        if isinstance(event, DeadLettersExpired):
            self.expired.set()

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


async def test_expired_dead_letters_are_discarded_and_counted(service: Service):
    observer, clock = Remembering(), Clock()
    settings = attrs.evolve(QUICK, prune_every=0.001, keep_dead_letters=0.01)
    outbox = MemoryOutbox(clock=clock)
    async with service.client(outbox=outbox, delivery=settings, observers=[observer]) as client:
        await refused(client, service, *SALES[:3])
        clock.advance(1)
        with anyio.fail_after(10):
            await observer.expired.wait()
        assert await event_ids(client) == []
        assert (await client.stats()).destinations["anytrack"].expired == 3

    assert observer.of(DeadLettersExpired) == [
        DeadLettersExpired(destination="anytrack", count=3, kept_for=0.01)
    ]


async def test_dead_letters_are_kept_for_ever_by_default(service: Service):
    clock = Clock()
    settings = attrs.evolve(QUICK, prune_every=0.001)
    async with service.client(outbox=MemoryOutbox(clock=clock), delivery=settings) as client:
        await refused(client, service, SALES[0])
        clock.advance(100 * 365 * 86_400)
        await client.outbox.prune(remember=0)
        assert await event_ids(client) == ["sale:1"]


async def test_the_log_has_two_lines_for_many_dead_letters_and_observers_get_each(
    service: Service, caplog: pytest.LogCaptureFixture
):
    observer = Remembering()
    async with service.client(observers=[observer]) as client:
        await refused(client, service)

    lines = [message for message in caplog.messages if "dead letter" in message]
    assert len(observer.of(DeadLettered)) == 5
    assert len(lines) == 2
    assert "sale:1 is now a dead letter" in lines[0]
    assert "4 more dead letters" in lines[1]
    assert "e.g. sale:2" in lines[1]


async def test_the_log_has_the_number_after_a_minute_though_nothing_else_happens(
    service: Service, caplog: pytest.LogCaptureFixture
):
    clock = Clock()
    settings = attrs.evolve(QUICK, prune_every=0.001)
    log = LoggingObserver(clock=clock)
    async with service.client(delivery=settings, log=False, observers=[log]) as client:
        await refused(client, service)
        assert "more dead letters" not in caplog.text
        clock.advance(60)
        with anyio.fail_after(10):
            while "4 more dead letters in 60 s" not in caplog.text:
                await anyio.wait_all_tasks_blocked()
