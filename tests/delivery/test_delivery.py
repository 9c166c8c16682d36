import anyio
import pytest

from anytrack_async.delivery.delivery import Delivery
from anytrack_async.errors import ConfigurationError, UndeliveredError
from anytrack_async.models.outcome import Outcome, Report, Status
from tests.delivery.doubles import run_ready_tasks, statuses

pytestmark = pytest.mark.asyncio

LOST = UndeliveredError("the client closed", {"meta": ["a"]})


def outcome(destination, status=Status.DELIVERED, **more):
    return Outcome(status=status, destination=destination, **more)


def make_delivery():
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
    await run_ready_tasks()
    return results


async def test_awaiting_a_delivery_waits_for_every_destination():
    delivery = make_delivery()
    async with anyio.create_task_group() as tg:
        results = await started(tg, delivery)

        delivery.resolve(outcome("anytrack"))
        await run_ready_tasks()
        assert not results

        delivery.resolve(outcome("meta", Status.DEAD, error="no"))

    (report,) = results
    assert report.event_id == "a"
    assert statuses(report) == {"anytrack": "delivered", "meta": "dead"}
    assert report.final
    assert not report.delivered


async def test_at_waits_for_one_destination():
    delivery = make_delivery()
    async with anyio.create_task_group() as tg:
        results = await started(tg, delivery.at("anytrack"))
        delivery.resolve(outcome("meta"))
        await run_ready_tasks()
        assert not results
        delivery.resolve(outcome("anytrack", remote_id="r1"))

    assert results[0].remote_id == "r1"


async def test_a_delivery_can_be_awaited_twice_and_concurrently():
    delivery = make_delivery()
    delivery.resolve(outcome("anytrack"))
    delivery.resolve(outcome("meta"))

    assert (await finished(delivery)) == (await finished(delivery))


async def test_a_retry_is_not_final():
    delivery = make_delivery()
    delivery.resolve(outcome("anytrack"))
    delivery.resolve(outcome("meta", Status.WAITING, error="503"))

    assert not delivery.done()
    assert delivery.report.outcomes["meta"].error == "503"
    assert delivery.pending == ["meta"]


async def test_a_final_outcome_is_never_replaced():
    delivery = make_delivery()
    delivery.resolve(outcome("meta", remote_id="first"))
    delivery.resolve(outcome("meta", Status.WAITING))

    assert delivery.report.outcomes["meta"].remote_id == "first"


async def test_at_refuses_a_destination_the_conversion_is_not_for():
    with pytest.raises(ConfigurationError, match="only for: anytrack, meta"):
        await make_delivery().at("hubspot")


async def test_a_destination_the_conversion_is_not_for_counts_as_done():
    delivery = make_delivery()
    delivery.resolve(outcome("anytrack"))

    assert delivery.done(("anytrack", "hubspot"))
    assert delivery.done(())
    assert not delivery.done(("meta",))


async def test_refreshing_ends_the_wait_for_other_destinations():
    delivery = make_delivery()
    delivery.resolve(outcome("anytrack"))
    async with anyio.create_task_group() as tg:
        whole = await started(tg, delivery)
        meta = await started(tg, delivery.at("meta"))

        delivery.refresh_from(
            Report(event_id="a", outcomes={"anytrack": outcome("anytrack")}), ["anytrack", "meta"]
        )

    assert statuses(whole[0]) == {"anytrack": "delivered"}
    assert isinstance(meta[0], ConfigurationError)


async def test_closing_fails_current_and_later_waits():
    delivery = make_delivery()
    delivery.resolve(outcome("anytrack"))
    async with anyio.create_task_group() as tg:
        results = await started(tg, delivery)
        delivery.fail(LOST)

    assert results == [LOST]
    with pytest.raises(UndeliveredError):
        await finished(delivery.at("meta"))
    assert (await finished(delivery.at("anytrack"))).final


async def test_a_shared_error_does_not_collect_tracebacks():
    delivery = make_delivery()
    delivery.fail(LOST)
    depths = []
    for _ in range(3):
        with pytest.raises(UndeliveredError) as caught:
            await delivery
        depths.append(len(caught.traceback))

    assert depths[0] == depths[-1]


async def test_a_watcher_is_called_until_it_is_removed():
    delivery, seen = make_delivery(), []
    delivery.watch(seen.append)
    delivery.watch(seen.append)
    delivery.resolve(outcome("anytrack"))
    assert seen == [delivery]
    awaited = [delivery.awaited]

    delivery.unwatch(seen.append)
    delivery.resolve(outcome("meta"))
    assert seen == [delivery]
    assert [*awaited, delivery.awaited] == [True, False]


async def test_repr_shows_id_and_statuses_only():
    delivery = make_delivery()
    delivery.resolve(outcome("meta", error="jane@example.com"))

    assert repr(delivery) == "<Delivery 'a': anytrack waiting, meta delivered>"
