"""Tickets, handed out in one event loop and in others."""

import asyncio

import anyio
import anyio.to_thread
import pytest

from anytrack_async.outbox.sqlite.ticket import hand_out, new_ticket

pytestmark = pytest.mark.asyncio


async def wait_for(ticket):
    return await ticket


async def test_a_thread_hands_out_results():
    tickets = [new_ticket() for _ in range(3)]

    await anyio.to_thread.run_sync(hand_out, zip(tickets, "abc", strict=True))

    with anyio.fail_after(5):
        assert [await ticket for ticket in tickets] == ["a", "b", "c"]


@pytest.mark.filterwarnings("error")
async def test_who_was_cancelled_takes_nobodys_result_away():
    tickets = [new_ticket() for _ in range(3)]
    tasks = [asyncio.ensure_future(wait_for(ticket)) for ticket in tickets]
    await anyio.wait_all_tasks_blocked()
    tasks[1].cancel()

    hand_out(zip(tickets, "abc", strict=True))

    with anyio.fail_after(5):
        first, second, third = await asyncio.gather(*tasks, return_exceptions=True)
    assert (first, third) == ("a", "c")
    assert isinstance(second, asyncio.CancelledError)


async def test_a_loop_that_is_closed_keeps_no_other_from_its_results():
    async def elsewhere():
        return new_ticket()

    gone = await anyio.to_thread.run_sync(asyncio.run, elsewhere())
    here = new_ticket()

    hand_out([(gone, "lost"), (here, "kept")])

    with anyio.fail_after(5):
        assert await here == "kept"
