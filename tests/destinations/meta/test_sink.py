import gc
import logging
import tracemalloc
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import anyio
import httpx
import pytest

from anytrack_async.destinations.meta.encoding import Chunk
from anytrack_async.destinations.meta.sink import MetaSink
from anytrack_async.destinations.sink import (
    BatchRejected,
    NeedsOperator,
    Sink,
    Throttled,
    Unavailable,
)
from anytrack_async.events import UnusualConfirmation
from anytrack_async.models.meta import MetaFields
from anytrack_async.models.outcome import Status

pytestmark = pytest.mark.asyncio

STALE = datetime.now(UTC) - timedelta(days=8)


def statuses(outcomes):
    return [outcome.status if outcome else None for outcome in outcomes]


async def test_batch_goes_in_one_request_with_the_token_in_a_header(sink_of, wire, conversion):
    sink = sink_of(test_event_code="TEST1", partner_agent="shop")
    outcomes = await sink.deliver([conversion(n) for n in range(3)])

    assert statuses(outcomes) == [Status.DELIVERED] * 3
    (request,) = wire.requests
    assert request.method == "POST"
    assert str(request.url) == "https://graph.facebook.com/v26.0/1234567890/events"
    assert request.headers["authorization"] == "Bearer t0ken"
    assert request.headers["content-type"] == "application/json"
    assert wire.event_ids() == ["sale:o0", "sale:o1", "sale:o2"]
    assert wire.body()["test_event_code"] == "TEST1"
    assert wire.body()["partner_agent"] == "shop"


async def test_nothing_to_send_costs_no_request(sink_of, wire):
    assert list(await sink_of().deliver([])) == []
    assert not wire.requests


async def test_same_event_twice_in_a_batch_is_sent_twice(sink_of, wire, conversion):
    assert statuses(await sink_of().deliver([conversion(1), conversion(1)])) == [
        Status.DELIVERED,
        Status.DELIVERED,
    ]
    assert wire.event_ids() == ["sale:o1", "sale:o1"]


async def test_event_that_meta_would_refuse_is_rejected_without_a_request(
    sink_of, wire, conversion
):
    batch = [conversion(1, timestamp=STALE), conversion(2, customer=None, user_agent=None)]
    outcomes = await sink_of().deliver(batch)

    assert statuses(outcomes) == [Status.REJECTED, Status.REJECTED]
    assert [outcome.code for outcome in outcomes] == ["2804003", "2804050"]
    assert not wire.requests


async def test_good_events_are_sent_without_the_bad_ones(sink_of, wire, conversion):
    batch = [conversion(1), conversion(2, timestamp=STALE), conversion(3)]
    outcomes = await sink_of().deliver(batch)

    assert statuses(outcomes) == [Status.DELIVERED, Status.REJECTED, Status.DELIVERED]
    assert wire.event_ids() == ["sale:o1", "sale:o3"]


async def test_store_visits_may_be_older(sink_of, wire, conversion):
    visit = conversion(timestamp=STALE, meta=MetaFields(action_source="physical_store"))

    assert statuses(await sink_of().deliver([visit])) == [Status.DELIVERED]


async def test_bad_event_alone_is_rejected(sink_of, wire, conversion, graph_error):
    wire.replies = [graph_error(100, 2804016)]
    (outcome,) = await sink_of().deliver([conversion()])

    assert outcome.status is Status.REJECTED
    assert outcome.code == "2804016"


async def test_last_good_event_of_a_batch_counts_as_alone(sink_of, wire, conversion, graph_error):
    wire.replies = [graph_error(100, 2804016)]
    outcomes = await sink_of().deliver([conversion(1, timestamp=STALE), conversion(2)])

    assert [outcome.code for outcome in outcomes] == ["2804003", "2804016"]


@pytest.mark.parametrize(
    ("code", "signal"),
    [(190, NeedsOperator), (17, Throttled), (2, Unavailable)],
)
async def test_signals_carry_the_known_outcomes(
    sink_of, wire, conversion, graph_error, code, signal
):
    wire.replies = [graph_error(code)]
    with pytest.raises(signal) as caught:
        await sink_of().deliver([conversion(1), conversion(2, timestamp=STALE), conversion(3)])

    assert statuses(caught.value.outcomes) == [None, Status.REJECTED, None]


async def test_signal_about_the_whole_batch_carries_no_outcomes(
    sink_of, wire, conversion, graph_error
):
    wire.replies = [graph_error(190)]
    with pytest.raises(NeedsOperator) as caught:
        await sink_of().deliver([conversion(1), conversion(2)])

    assert caught.value.outcomes == ()


async def test_rejected_batch_carries_no_outcomes(sink_of, wire, conversion, graph_error):
    wire.replies = [graph_error(100, 2804050)]
    with pytest.raises(BatchRejected) as caught:
        await sink_of().deliver([conversion(1), conversion(2, timestamp=STALE), conversion(3)])

    assert caught.value.outcomes == ()


async def test_wait_without_a_time_grows_until_a_success(sink_of, wire, conversion, graph_error):
    soon = {"x-business-use-case-usage": '{"1":[{"estimated_time_to_regain_access":0}]}'}
    busy = graph_error(4, headers={**soon, "x-app-usage": '{"call_count":100}'})
    wire.replies = [busy, busy, wire.success, busy]
    sink = sink_of()
    waits = []
    for _ in range(4):
        try:
            await sink.deliver([conversion()])
        except Throttled as signal:
            waits.append(signal.after)

    assert waits == [1, 2, 1]


async def test_long_batch_is_sent_in_several_requests(sink_of, wire, conversion):
    outcomes = await sink_of(max_bytes=800).deliver([conversion(n) for n in range(5)])

    assert statuses(outcomes) == [Status.DELIVERED] * 5
    assert [wire.event_ids(n) for n in range(len(wire.requests))] == [
        ["sale:o0", "sale:o1"],
        ["sale:o2", "sale:o3"],
        ["sale:o4"],
    ]
    assert all(len(request.content) <= 800 for request in wire.requests)


@pytest.mark.parametrize("count", [2, 64, 65, 150])
@pytest.mark.parametrize(
    "options", [{}, {"app_secret": "s3cret", "test_event_code": "T1", "partner_agent": "shop"}]
)
async def test_body_is_never_one_byte_over_the_limit(sink_of, wire, conversion, count, options):
    batch = [conversion(n) for n in range(count)]
    await sink_of(**options).deliver(batch)
    size = len(wire.requests[0].content)
    for limit, requests in ((size + 1, 1), (size, 1), (size - 1, 2)):
        wire.requests.clear()
        outcomes = await sink_of(**options, max_bytes=limit).deliver(batch)

        assert statuses(outcomes) == [Status.DELIVERED] * count
        assert len(wire.requests) == requests
        assert all(len(request.content) <= limit for request in wire.requests)
        assert sum(len(wire.event_ids(n)) for n in range(requests)) == count


async def test_slice_that_fills_a_request_is_not_one_byte_over_the_limit(sink_of, wire, conversion):
    """The events alone would fit the limit, the body with its brackets would not."""
    batch = [conversion(n) for n in range(64)]
    await sink_of().deliver(batch)
    overhead = len(b'{"data":[]}')
    events = len(wire.requests[0].content) - overhead
    for limit in range(events, events + overhead + 1):
        wire.requests.clear()
        await sink_of(max_bytes=limit).deliver(batch)

        assert all(len(request.content) <= limit for request in wire.requests)


async def test_event_longer_than_the_limit_is_sent_alone(sink_of, wire, conversion):
    batch = [conversion(1), conversion(2, custom_data={"note": "x" * 5000}), conversion(3)]
    outcomes = await sink_of(max_bytes=1000).deliver(batch)

    assert statuses(outcomes) == [Status.DELIVERED] * 3
    assert [wire.event_ids(n) for n in range(3)] == [["sale:o1"], ["sale:o2"], ["sale:o3"]]


async def test_events_of_a_request_are_freed_before_meta_responds(sink_of, wire, conversion):
    batch = [conversion(n) for n in range(500)]
    event_ids = {sale.event_id for sale in batch}
    used = []

    def look(request):
        used.append((tracemalloc.get_traced_memory()[0] - before, len(request.content)))
        objects = gc.get_objects()
        assert not [thing for thing in objects if type(thing) is Chunk]
        ids = [thing.get("event_id") for thing in objects if type(thing) is dict]
        assert not [id_ for id_ in ids if type(id_) is str and id_ in event_ids]
        return wire.success(request)

    sink = sink_of()
    await sink.deliver(batch)  # loads modules and fills caches
    wire.requests.clear()
    wire.replies = [look]
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        await sink.deliver(batch)
    finally:
        tracemalloc.stop()

    ((bytes_used, body_bytes),) = used
    assert body_bytes < bytes_used < 1.5 * body_bytes  # the body once, and little else


async def test_chunks_of_a_request_are_freed_before_later_requests(sink_of, wire, conversion):
    """While request n waits for Meta, only the chunks of later requests are kept."""
    alive = []

    def count(request):
        alive.append(sum(type(thing) is Chunk for thing in gc.get_objects()))
        return wire.success(request)

    wire.replies = [count] * 3
    await sink_of(max_bytes=1).deliver([conversion(n) for n in range(3)])

    assert alive == [2, 1, 0]


async def test_requests_before_a_signal_stay_delivered(sink_of, wire, conversion, graph_error):
    wire.replies = [wire.success, graph_error(4)]
    with pytest.raises(Throttled) as caught:
        await sink_of(max_bytes=800).deliver([conversion(n) for n in range(5)])

    assert statuses(caught.value.outcomes) == [Status.DELIVERED] * 2 + [None] * 3
    assert len(wire.requests) == 2


async def test_events_that_meta_lost_are_retried(sink_of, wire, conversion):
    wire.replies = [httpx.Response(200, json={"events_received": 1})]

    assert statuses(await sink_of().deliver([conversion(1), conversion(2)])) == [Status.RETRY] * 2


@pytest.mark.parametrize(
    "failure",
    [httpx.ConnectError("no"), httpx.ReadTimeout("slow"), httpx.RemoteProtocolError("cut")],
)
async def test_no_response_means_unavailable(sink_of, wire, conversion, failure):
    def fail(request):
        raise failure

    wire.replies = [fail]
    with pytest.raises(Unavailable):
        await sink_of().deliver([conversion()])


async def test_callback_that_fails_rejects_its_conversion_alone(sink_of, wire, conversion):
    def name(given):
        if given.event_id == "sale:o2":
            raise RuntimeError("jane2@example.com")

    outcomes = await sink_of(event_name=name).deliver([conversion(n) for n in (1, 2, 3)])

    assert statuses(outcomes) == [Status.DELIVERED, Status.REJECTED, Status.DELIVERED]
    assert outcomes[1].error.startswith("could not be turned into a Meta event: RuntimeError; ")


async def test_weaknesses_are_reported_once_of_each_kind(sink_of, conversion, caplog):
    sink = sink_of()
    weak = [conversion(n, user_agent=None) for n in range(3)] + [conversion(4, page_url=None)]
    await sink.deliver(weak)
    await sink.deliver(weak)

    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert "user_agent" in caplog.records[0].message
    assert "page_url" in caplog.records[1].message


async def test_nearly_used_quota_slows_the_next_request(sink_of, wire, conversion, monkeypatch):
    naps = []

    async def sleep(seconds):
        naps.append(seconds)

    monkeypatch.setattr(anyio, "sleep", sleep)
    usage = {"x-app-usage": '{"call_count":95}'}
    wire.replies = [httpx.Response(200, json={"events_received": 1}, headers=usage)]
    sink = sink_of()
    await sink.deliver([conversion()])
    assert naps == []
    await sink.deliver([conversion()])

    assert naps == [pytest.approx(5, abs=0.5)]


async def test_closing_closes_the_transport(settings):
    class Closing(httpx.AsyncBaseTransport):
        closed = False

        async def aclose(self):
            self.closed = True

    transport = Closing()
    await MetaSink(settings(), transport=transport).aclose()

    assert transport.closed


async def test_sink_limits_come_from_the_settings(sink_of):
    sink: Sink = sink_of(batch=500, concurrency=2)

    assert sink.name == "meta"
    assert sink.limits.batch == 500
    assert sink.limits.concurrency == 2


async def test_each_pixel_may_have_its_own_name(settings):
    assert MetaSink(settings(), name="meta-eu").name == "meta-eu"


async def test_an_unusual_confirmation_is_delivered_and_reported_once(sink_of, wire, conversion):
    events = []
    sink = sink_of()
    sink.set_observer(SimpleNamespace(notify=events.append))
    wire.replies = [httpx.Response(204), httpx.Response(200, json={})]

    outcomes = [*await sink.deliver([conversion()]), *await sink.deliver([conversion()])]

    assert statuses(outcomes) == [Status.DELIVERED] * 2
    assert events == [UnusualConfirmation(destination="meta", answer="status 204, no body")]
