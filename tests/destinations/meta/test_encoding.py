import anyio
import orjson
import pytest

from anytrack_async.destinations.meta.body import request_body
from anytrack_async.destinations.meta.encoding import SLICE, TURN, Encoder
from anytrack_async.destinations.meta.event import to_event
from anytrack_async.models.outcome import Status

pytestmark = pytest.mark.asyncio


@pytest.fixture
def encoder_of(settings):
    """Return a maker of encoders that keep warnings to themselves."""
    return lambda **fields: Encoder(settings(**fields), lambda _: None)


def places(chunks):
    return [place for chunk in chunks for place in chunk.places]


def events(chunks):
    return orjson.loads(request_body(chunks, b"]}"))["data"]


async def encoded(encoder, batch):
    outcomes = [None] * len(batch)
    return await encoder.encode(batch, outcomes), outcomes


@pytest.mark.parametrize("count", [1, SLICE, SLICE + 1, 3 * SLICE])
async def test_events_are_those_of_the_batch_in_its_order(encoder_of, conversion, settings, count):
    batch = [conversion(n) for n in range(count)]
    chunks, outcomes = await encoded(encoder_of(), batch)

    assert places(chunks) == list(range(count))
    assert events(chunks) == [to_event(one, settings()) for one in batch]
    assert outcomes == [None] * count


async def test_events_of_a_slice_are_encoded_together(encoder_of, conversion):
    chunks, _ = await encoded(encoder_of(), [conversion(n) for n in range(SLICE + 2)])

    assert [len(chunk.places) for chunk in chunks] == [SLICE, 2]


@pytest.mark.parametrize("unusable", ["\ud800", object()])
async def test_event_that_cannot_be_encoded_is_rejected_alone(encoder_of, conversion, unusable):
    encoder = encoder_of(event_name=lambda one: unusable if one.event_id == "sale:o2" else None)
    chunks, outcomes = await encoded(encoder, [conversion(n) for n in range(4)])

    assert [event["event_id"] for event in events(chunks)] == ["sale:o0", "sale:o1", "sale:o3"]
    assert places(chunks) == [0, 1, 3]
    assert [outcome and outcome.status for outcome in outcomes] == [
        *(None, None),
        *(Status.REJECTED, None),
    ]
    assert outcomes[2].error == "could not be made an event: TypeError"


async def test_only_a_slice_that_is_too_long_for_a_request_is_taken_apart(encoder_of, conversion):
    long = conversion(0, custom_data={"note": "x" * 100_000})
    batch = [long, *(conversion(n) for n in range(1, SLICE + 3))]
    chunks, _ = await encoded(encoder_of(max_bytes=90_000), batch)

    assert [len(chunk.places) for chunk in chunks] == [1] * SLICE + [3]
    assert places(chunks) == list(range(SLICE + 3))


async def test_nothing_but_refused_events_makes_no_chunk(encoder_of, conversion):
    chunks, outcomes = await encoded(encoder_of(), [conversion(customer=None, user_agent=None)])

    assert chunks == []
    assert outcomes[0].code == "2804050"


async def test_loop_gets_its_turn_while_a_batch_is_encoded(encoder_of, conversion):
    turns = 0

    async def count():
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(count)
        await anyio.lowlevel.checkpoint()
        before = turns
        await encoded(encoder_of(), [conversion(n) for n in range(10 * TURN)])
        tasks.cancel_scope.cancel()

    assert turns - before >= 9


async def test_batches_are_encoded_one_after_the_other(encoder_of, conversion):
    seen = []
    encoder = encoder_of(event_name=lambda one: seen.append(one.order_id))
    first, second = ([conversion(n) for n in range(at, at + 3 * SLICE)] for at in (0, 10_000))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(encoded, encoder, first)
        tasks.start_soon(encoded, encoder, second)

    assert seen == [one.order_id for one in (*first, *second)]


async def test_batch_that_is_cancelled_does_not_hold_up_the_next(encoder_of, conversion):
    encoder = encoder_of()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await encoded(encoder, [conversion(n) for n in range(2 * SLICE)])
    chunks, _ = await encoded(encoder, [conversion(1)])

    assert scope.cancelled_caught
    assert places(chunks) == [0]
