"""`forget_customer`: what is erased, what is sent afterwards, and what the report says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import anyio
import pytest

from anytrack_async import (
    AnyTrackClient,
    ConfigurationError,
    Conversion,
    Customer,
    KeyRing,
    MemoryOutbox,
    SQLiteOutbox,
)
from anytrack_async.client.forgetting import ForgottenConversion, forget_customer
from anytrack_async.codec.encryption import new_key
from anytrack_async.models.erasure import Person
from anytrack_async.models.outcome import Status
from anytrack_async.outbox.base import FailedEntry
from tests.destinations.anytrack.doubles import FakeService

pytestmark = pytest.mark.asyncio

JANE = "jane.unique@example.com"


def sale(number: int, email: str | None = None, **fields: Any) -> Conversion:
    customer = None if email is None else Customer(email=email, phone="+491701234567")
    return Conversion.sale(
        revenue=5, order_id=str(number), customer=customer, ip_address="203.0.113.77", **fields
    )


def make_client(outbox: Any, service: FakeService) -> AnyTrackClient:
    return AnyTrackClient("key", "account", outbox=outbox, transport=service, log=False)


def in_memory(_: Path) -> MemoryOutbox:
    return MemoryOutbox()


def in_file(folder: Path) -> SQLiteOutbox:
    return SQLiteOutbox(folder / "outbox.db")


def encrypted(folder: Path) -> SQLiteOutbox:
    return SQLiteOutbox(folder / "outbox.db", keys=KeyRing(new_key()))


OUTBOXES: Iterable[Callable[[Path], Any]] = (in_memory, in_file, encrypted)


def is_in_files(folder: Path, text: str) -> bool:
    return any(text.encode() in path.read_bytes() for path in folder.glob("outbox.db*"))


class Held:
    """A service that answers only when the test says so."""

    def __init__(self) -> None:
        self.asked, self.go_on = anyio.Event(), anyio.Event()
        self.service = FakeService(pause=self._pause)

    async def _pause(self) -> None:
        self.asked.set()
        await self.go_on.wait()


@pytest.mark.parametrize("make_outbox", OUTBOXES)
async def test_the_report_says_what_was_sent_and_what_may_have_been(
    tmp_path: Path, make_outbox: Callable[[Path], Any]
):
    held = Held()
    held.go_on.set()
    async with make_client(make_outbox(tmp_path), held.service) as client:
        await client.track_sale(revenue=5, order_id="0", customer=Customer(email=JANE.upper()))
        held.go_on, held.asked = anyio.Event(), anyio.Event()
        in_flight = await client.submit(sale(1, JANE))
        await held.asked.wait()
        first = await client.forget_customer(email=JANE)
        held.go_on.set()
        await in_flight.at("anytrack")

    assert first.conversions[-1] == ForgottenConversion(
        event_id="sale:1", order_id="1", in_flight=("anytrack",)
    )
    # The first one may have been dropped already, and then has no customer to find any more.
    assert first.conversions[:-1] in (
        (),
        (ForgottenConversion(event_id="sale:0", order_id="0", sent={"anytrack": "c-0"}),),
    )
    assert "sale:1" in first.sent["anytrack"]


@pytest.mark.parametrize("make_outbox", OUTBOXES)
@pytest.mark.parametrize("undelivered", ["discard", "redact"])
async def test_what_waits_is_discarded_or_sent_without_the_customer(
    tmp_path: Path, make_outbox: Callable[[Path], Any], undelivered: Any
):
    outbox: Any = make_outbox(tmp_path)
    await outbox.open(["anytrack"])
    await outbox.append([sale(1, JANE), sale(2, "joe@example.com"), sale(3)])
    report = await forget_customer(outbox, Person(phone="0049 170 1234567"), undelivered)
    if not outbox.durable:
        claim = await outbox.claim("anytrack", 10, 60)
        await outbox.aclose()
        kept = [entry.conversion.customer for entry in claim.entries]
        assert kept == [None, None, None]
        return
    await outbox.aclose()
    service = FakeService()
    async with make_client(outbox, service) as client:
        delivery = await client.submit(sale(1, JANE))  # a repeat
        outcome = await delivery.at("anytrack")

    bodies = {body["order_id"]: body for body in (json.loads(r.content) for r in service.requests)}
    closed: Any = {f"{undelivered}ed": ("anytrack",)}
    assert report.conversions == tuple(
        ForgottenConversion(event_id=f"sale:{order}", order_id=str(order), **closed)
        for order in (1, 2)
    )
    if undelivered == "discard":
        assert outcome.status is Status.SKIPPED
        assert bodies.keys() == {"3"}
    else:
        assert outcome.status is Status.DELIVERED
        assert "ip_address" not in bodies["1"]
    assert bodies["3"]["ip_address"] == "203.0.113.77"


@pytest.mark.parametrize("make_outbox", OUTBOXES)
async def test_dead_letters_are_discarded(tmp_path: Path, make_outbox: Callable[[Path], Any]):
    outbox: Any = make_outbox(tmp_path)
    await outbox.open(["meta", "hubspot"])
    await outbox.append([sale(1, JANE)])
    claim = await outbox.claim("meta", 1, 60)
    (seq,) = claim.entries.seqs
    await outbox.settle(claim, [FailedEntry(seq=seq, attempts=1, error=f"refused {JANE}")])

    (conversion,) = (await forget_customer(outbox, Person(email=JANE))).conversions

    assert set(conversion.discarded) == {"meta", "hubspot"}
    assert list(await outbox.dead_letters()) == []
    outcome = (await outbox.reports(["sale:1"]))["sale:1"].outcomes["meta"]
    assert (outcome.status, outcome.error) == (Status.DISCARDED, None)
    await outbox.aclose()


@pytest.mark.parametrize("make_outbox", [in_file, encrypted])
async def test_nothing_of_the_person_is_left_in_the_files(
    tmp_path: Path, make_outbox: Callable[[Path], Any]
):
    outbox: Any = make_outbox(tmp_path)
    await outbox.open(["anytrack"])
    await outbox.append([sale(number, JANE, custom_data={"x": "y" * 3000}) for number in range(50)])
    if make_outbox is in_file:
        assert is_in_files(tmp_path, JANE)

    await forget_customer(outbox, Person(email=JANE))

    for text in (JANE, "203.0.113.77", "+49170"):
        assert not is_in_files(tmp_path, text)
    in_memory = [conversion for conversion, _ in outbox._cache._by_seq.values()]
    assert not [conversion for conversion in in_memory if conversion.customer]
    claim = await outbox.claim("anytrack", 100, 60)
    assert len(claim.entries) == 50
    assert (await outbox.verify()).is_intact
    await outbox.aclose()


@pytest.mark.parametrize("make_outbox", OUTBOXES)
async def test_reasons_of_attempts_at_a_conversion_that_is_gone_do_not_quote_the_person(
    tmp_path: Path, make_outbox: Callable[[Path], Any]
):
    outbox: Any = make_outbox(tmp_path)
    await outbox.open(["meta"])
    await outbox.append([sale(1, JANE)])
    claim = await outbox.claim("meta", 1, 60)
    (seq,) = claim.entries.seqs
    failure = FailedEntry(seq=seq, attempts=1, error=f"busy with {JANE.title()}", due=0.0)
    await outbox.settle(claim, [failure])
    await outbox.settle(await outbox.claim("meta", 1, 60))
    await outbox.prune(remember=3600)

    report = await forget_customer(outbox, Person(email=JANE))

    assert report.conversions == ()
    assert [attempt.error for attempt in await outbox.attempts("sale:1")] == ["", ""]
    assert not is_in_files(tmp_path, JANE.title())
    await outbox.aclose()


async def test_a_record_that_cannot_be_read_is_named(tmp_path: Path):
    outbox = SQLiteOutbox(tmp_path / "outbox.db")
    await outbox.open(["anytrack"])
    await outbox.append([sale(1, JANE), sale(2, JANE)])
    await outbox._run(
        lambda db: db.sql.execute("UPDATE log SET payload = x'00ff', digest = x'' WHERE seq = 1")
    )

    report = await forget_customer(outbox, Person(email=JANE))

    assert report.unreadable == ("sale:1",)
    assert [conversion.event_id for conversion in report.conversions] == ["sale:2"]
    await outbox.aclose()


async def test_an_outbox_that_cannot_erase_is_refused():
    class Plain:
        pass

    outbox: Any = Plain()
    with pytest.raises(ConfigurationError, match="Plain cannot erase customers"):
        await forget_customer(outbox, Person(email=JANE))


async def test_other_words_for_undelivered_are_refused():
    wrong: Any = "keep"
    with pytest.raises(ValueError, match="must be 'discard' or 'redact'"):
        await forget_customer(MemoryOutbox(), Person(email=JANE), wrong)
