import anyio
import pytest

from anytrack_async.delivery.delivery import Delivery
from anytrack_async.errors import ConfigurationError, UndeliveredError
from anytrack_async.models.outcome import Outcome, Report, Status
from tests.delivery.doubles import calm, statuses

pytestmark = pytest.mark.asyncio

LOST = UndeliveredError("the client closed", {"meta": ["a"]})


def outcome(destination, status=Status.DELIVERED, **more):
    return Outcome(status=status, destination=destination, **more)


def handle():
    return Delivery("a", ("anytrack", "meta"))


async def finished(awaitable):
    with anyio.fail_after(1):
        return await awaitable


async def started(tg, awaitable):
    """Await *awaitable* in a task; return where its result or error will be."""
    results = []

    async def run():
        try:
            results.append(await awaitable)
        except Exception as exc:
            results.append(exc)

    tg.start_soon(run)
    await calm()
    return results


async def test_it_waits_for_every_destination():
    one = handle()
    async with anyio.create_task_group() as tg:
        results = await started(tg, one)

        one.resolve(outcome("anytrack"))
        await calm()
        assert not results

        one.resolve(outcome("meta", Status.DEAD, error="no"))

    (report,) = results
    assert report.event_id == "a"
    assert statuses(report) == {"anytrack": "delivered", "meta": "dead"}
    assert report.final
    assert not report.delivered


async def test_it_waits_for_one_destination():
    one = handle()
    async with anyio.create_task_group() as tg:
        results = await started(tg, one.at("anytrack"))
        one.resolve(outcome("meta"))
        await calm()
        assert not results
        one.resolve(outcome("anytrack", remote_id="r1"))

    assert results[0].remote_id == "r1"


async def test_it_can_be_awaited_twice_and_by_several():
    one = handle()
    one.resolve(outcome("anytrack"))
    one.resolve(outcome("meta"))

    assert (await finished(one)) == (await finished(one))


async def test_a_retry_is_not_the_end():
    one = handle()
    one.resolve(outcome("anytrack"))
    one.resolve(outcome("meta", Status.WAITING, error="503"))

    assert not one.done()
    assert one.report.outcomes["meta"].error == "503"
    assert one.pending == ["meta"]


async def test_the_first_final_outcome_stays():
    one = handle()
    one.resolve(outcome("meta", remote_id="first"))
    one.resolve(outcome("meta", Status.WAITING))

    assert one.report.outcomes["meta"].remote_id == "first"


async def test_asking_for_a_destination_that_it_is_not_for_is_an_error():
    with pytest.raises(ConfigurationError, match="only for: anytrack, meta"):
        await handle().at("hubspot")


async def test_a_destination_that_it_is_not_for_is_done():
    one = handle()
    one.resolve(outcome("anytrack"))

    assert one.done(("anytrack", "hubspot"))
    assert one.done(())
    assert not one.done(("meta",))


async def test_what_the_outbox_knows_ends_the_wait_for_destinations_it_is_not_for():
    one = handle()
    one.resolve(outcome("anytrack"))
    async with anyio.create_task_group() as tg:
        whole = await started(tg, one)
        meta = await started(tg, one.at("meta"))

        one.refresh_from(Report(event_id="a", outcomes={"anytrack": outcome("anytrack")}))

    assert statuses(whole[0]) == {"anytrack": "delivered"}
    assert isinstance(meta[0], ConfigurationError)


async def test_closing_wakes_those_who_wait_and_those_who_come_later():
    one = handle()
    one.resolve(outcome("anytrack"))
    async with anyio.create_task_group() as tg:
        results = await started(tg, one)
        one.fail(LOST)

    assert results == [LOST]
    with pytest.raises(UndeliveredError):
        await finished(one.at("meta"))
    assert (await finished(one.at("anytrack"))).final


async def test_an_error_that_several_get_does_not_collect_their_tracebacks():
    one = handle()
    one.fail(LOST)
    depths = []
    for _ in range(3):
        with pytest.raises(UndeliveredError) as caught:
            await one
        depths.append(len(caught.traceback))

    assert depths[0] == depths[-1]


async def test_a_watcher_is_told_until_it_looks_away():
    one, seen = handle(), []
    one.watch(seen.append)
    one.watch(seen.append)
    one.resolve(outcome("anytrack"))
    assert seen == [one]
    awaited = [one.awaited]

    one.unwatch(seen.append)
    one.resolve(outcome("meta"))
    assert seen == [one]
    assert [*awaited, one.awaited] == [True, False]


async def test_it_shows_id_and_statuses_only():
    one = handle()
    one.resolve(outcome("meta", error="jane@example.com"))

    assert repr(one) == "<Delivery 'a': anytrack waiting, meta delivered>"
