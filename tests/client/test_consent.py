"""Skipped conversions: their outcomes, counts and events, also after a restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from anytrack_async import (
    AnyTrackClient,
    Consent,
    ConsentRule,
    Conversion,
    MetaSettings,
    MetaSink,
    SQLiteOutbox,
)
from anytrack_async.events import DeadLettered, Delivered, Skipped
from anytrack_async.models.outcome import Status
from tests.destinations.anytrack.doubles import FakeService
from tests.destinations.meta.conftest import Wire

pytestmark = pytest.mark.asyncio


class Events(list[Any]):
    """An observer that keeps all events."""

    def notify(self, event: Any) -> None:
        self.append(event)

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self if isinstance(event, kind)]


def make_client(outbox: Path | None, events: Events, **options: Any) -> AnyTrackClient:
    meta = MetaSink(
        MetaSettings(pixel_id="1", access_token="t"), transport=httpx.MockTransport(Wire())
    )
    return AnyTrackClient(
        "key",
        "account",
        sinks=[meta],
        outbox=outbox,
        observers=[events],
        transport=FakeService(),
        **options,
    )


def sale(number: int, consent: Consent | None) -> Conversion:
    return Conversion.sale(
        revenue=5, order_id=str(number), consent=consent, ip_address="203.0.113.5"
    )


@pytest.mark.parametrize("in_file", [False, True])
async def test_a_skipped_conversion_is_counted_told_and_reported(tmp_path: Path, in_file: bool):
    events = Events()
    path = tmp_path / "outbox.db" if in_file else None
    async with make_client(path, events, log=False) as client:
        deliveries = await client.submit_many([sale(1, Consent.denied()), sale(2, None)])
        skipped, sent = [await delivery for delivery in deliveries]
        stats = (await client.stats()).destinations["meta"]

        assert skipped.outcomes["meta"].status is Status.SKIPPED
        assert skipped.outcomes["meta"].error == "no consent: ad_user_data is denied"
        assert skipped.final
        assert not skipped.delivered
        assert sent.delivered
        assert (stats.skipped, stats.delivered, stats.dead, stats.waiting) == (1, 1, 0, 0)
        assert stats.dead_lettered == 0
        reported = (await client.outbox.reports(["sale:1"]))["sale:1"]
        assert reported.outcomes["meta"].status is Status.SKIPPED

    (told,) = events.of(Skipped)
    assert (told.destination, told.event_ids) == ("meta", ["sale:1"])
    assert not events.of(DeadLettered)
    assert ["sale:2"] in [e.event_ids for e in events.of(Delivered) if e.destination == "meta"]


async def test_a_skip_outlives_the_process_and_is_not_sent_by_another_rule(tmp_path: Path):
    path = tmp_path / "outbox.db"
    async with make_client(path, Events(), log=False) as client:
        await (await client.submit(sale(1, Consent.denied())))

    outbox = SQLiteOutbox(path)
    await outbox.open(["anytrack", "meta"])
    report = (await outbox.reports(["sale:1"]))["sale:1"]
    claim = await outbox.claim("meta", 10, 60)
    await outbox.aclose()

    assert report.outcomes["meta"].status is Status.SKIPPED
    assert report.outcomes["anytrack"].status is Status.DELIVERED
    assert not claim.entries


async def test_a_sale_that_anytrack_does_not_get_breaks_no_checkout():
    client = make_client(None, Events(), log=False, consent=ConsentRule(denied="skip"))
    async with client:
        receipt = await client.track_sale(revenue=5, consent=Consent.denied())
        sent = await client.track_sale(revenue=5, order_id="2")

    assert (receipt.skipped, receipt.conversion_id) == (True, None)
    assert (sent.skipped, sent.conversion_id) == (False, "c-2")


async def test_the_environment_sets_anytracks_rule():
    environ = {
        "ANYTRACK_API_KEY": "k",
        "ANYTRACK_ACCOUNT_ID": "a",
        "ANYTRACK_CONSENT_DENIED": "skip",
    }
    client = AnyTrackClient.from_env(environ, transport=FakeService(), log=False)
    async with client:
        assert (await client.track_sale(revenue=5, consent=Consent.denied())).skipped
