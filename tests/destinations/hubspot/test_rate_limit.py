import gc

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytrack_async.destinations.hubspot.rate_limit import (
    Limiter,
    Window,
    _limiters,
    shared_limiter,
)

FOREVER = 1e9


def take(window, now):
    """How many requests go at once."""
    taken = 0
    while window.wait(now) == 0:
        taken += 1
    return taken


def test_a_window_lets_through_as_many_as_it_holds():
    window = Window(100, 10.0)

    assert take(window, 0.0) == 100
    assert take(window, 5.0) == 0


def test_the_wait_ends_when_the_oldest_leaves():
    window = Window(2, 10.0)
    window.wait(0.0)
    window.wait(4.0)

    assert window.wait(5.0) == pytest.approx(5.2)  # a little more than ten seconds after the first
    assert window.wait(10.3) == 0
    assert window.wait(10.3) == pytest.approx(3.9)


def test_never_more_than_the_limit_in_any_window():
    window, now, sent = Window(5, 1.0), 0.0, []
    while len(sent) < 60:
        wait = window.wait(now)
        if wait == 0:
            sent.append(now)
        now += wait or 0.01

    assert max(sum(1 for t in sent if at <= t < at + 1.0) for at in sent) == 5


def test_a_hold_stops_everything_until_it_ends():
    window = Window(100, 10.0)
    window.hold(3.0)
    window.hold(1.0)

    assert window.wait(2.0) == 1.0
    assert window.wait(3.0) == 0


def test_the_servers_limit_takes_the_place_of_ours():
    window = Window(100, 10.0)
    window.learn(0.0, 190, 190, 10.0)

    assert take(window, 0.0) == 190


def test_a_smaller_limit_waits_for_the_right_moment():
    window = Window(10, 10.0)
    for at in range(6):
        window.wait(float(at))
    window.learn(6.0, 3, None, 10.0)

    assert window.wait(6.0) == pytest.approx(3 + 10.2 - 6.0)


def test_what_others_used_counts():
    window = Window(100, 10.0)
    window.wait(0.0)
    window.learn(0.0, 100, 30, 10.0)

    assert take(window, 0.0) == 30
    assert take(window, 10.3) == 100


def test_requests_under_way_are_not_counted_twice():
    window = Window(100, 10.0)
    for _ in range(40):
        window.wait(0.0)
    window.learn(0.0, 100, 99, 10.0)  # the answer to the first one

    assert take(window, 0.0) == 60


def test_another_interval_is_taken_over():
    window = Window(1, 10.0)
    window.learn(0.0, None, None, 1.0)
    window.wait(0.0)

    assert window.wait(1.5) == 0


def filled(window, *times):
    for at in times:
        window.wait(at)
    return window


def test_an_empty_window_asks_for_no_spacing():
    assert Window(100, 10.0).spacing(0.0, 0.0, 2) == 0


def test_what_is_left_is_spread_until_the_window_rolls():
    window = filled(Window(100, 10.0), *[0.0] * 80)

    # Ten batches have room, the eleventh once the eighty have left, at 10.2.
    assert window.spacing(0.0, 0.0, 2) == pytest.approx(10.2 / 10.5)
    assert window.spacing(10.3, 10.3, 2) == 0


def test_spacing_is_counted_from_the_last_batch():
    window = filled(Window(100, 10.0), *[0.0] * 80)

    assert window.spacing(0.5, 0.5, 2) == pytest.approx(10.2 / 10.5 - 0.5)
    assert window.spacing(2.0, 2.0, 2) == 0


def test_evenly_used_the_spacing_is_the_limits_own():
    window = filled(Window(100, 10.0), *(n * 0.102 for n in range(100)))

    assert window.spacing(10.1, 0.0, 2) == pytest.approx(0.204, abs=0.01)


@pytest.mark.parametrize("most", [1, 2, 3])
def test_a_full_window_spaces_until_a_batch_has_room(most):
    window = filled(Window(most, 10.0), *[0.0] * most)

    assert window.spacing(4.0, 4.0, 2) == pytest.approx(6.2)


def test_a_limit_that_shrank_spaces_until_a_batch_has_room():
    window = filled(Window(10, 10.0), *map(float, range(10)))
    window.learn(9.0, 4, None, None)

    # The eighth leaves at 17.2; then two of the four have room.
    assert window.spacing(9.0, 0.0, 2) == pytest.approx(17.2 - 9.0)


@pytest.mark.parametrize("now", [0.0, 5.0])
def test_a_limit_that_is_far_away_spaces_nothing(now):
    window = filled(Window(10**9, 10.0), *[0.0] * 1000)

    assert window.spacing(now, 0.0, 3) == 0


@given(
    used=st.lists(st.floats(0.0, 10.0), max_size=40).map(sorted),
    cost=st.integers(1, 4),
    most=st.integers(4, 50),
)
def test_batches_so_spaced_never_meet_a_full_window(used, cost, most):
    window = filled(Window(most, 10.0), *used[:most])
    last = now = 10.0
    for _ in range(30):
        now += window.spacing(now, now - last, cost) + 1e-9
        assert all(window.wait(now) == 0 for _ in range(cost))
        last = now


@pytest.mark.asyncio
async def test_waiters_go_in_the_order_they_came():
    limiter, order = Limiter(Window(1, 0.005)), []

    async def go(number):
        await limiter.take()
        order.append(number)

    async with anyio.create_task_group() as tg:
        for number in range(5):
            tg.start_soon(go, number)
            await anyio.lowlevel.checkpoint()

    assert order == [0, 1, 2, 3, 4]


@pytest.mark.asyncio
async def test_a_cancelled_waiter_takes_nothing():
    window = Window(1, FOREVER)
    limiter = Limiter(window)
    await limiter.take()
    with anyio.move_on_after(0) as scope:
        await limiter.take()
    window.learn(anyio.current_time(), 2, None, None)

    assert scope.cancelled_caught
    with anyio.fail_after(1):
        await limiter.take()


@pytest.mark.asyncio
async def test_headers_correct_the_limiter():
    limiter = Limiter(Window(100, 10.0))
    limiter.learn(
        {
            "x-hubspot-ratelimit-max": "7",
            "x-hubspot-ratelimit-remaining": "2",
            "x-hubspot-ratelimit-interval-milliseconds": "4000",
        }
    )

    assert (limiter._window.most, limiter._window.interval) == (7, 4.0)
    assert take(limiter._window, anyio.current_time()) == 2


@pytest.mark.asyncio
async def test_headers_that_say_nothing_change_nothing():
    limiter = Limiter(Window(100, 10.0))
    limiter.learn({"x-hubspot-ratelimit-max": "many"})

    assert (limiter._window.most, limiter._window.interval) == (100, 10.0)


@pytest.mark.asyncio
async def test_a_hold_is_for_everyone_who_shares(hs):
    one, other = (shared_limiter("token", hs.settings()) for _ in range(2))
    one.hold(1000)

    with anyio.move_on_after(0) as scope:
        await other.take()
    assert scope.cancelled_caught


@pytest.mark.asyncio
async def test_one_limiter_a_token_forgotten_after_use(hs):
    one = shared_limiter("token", hs.settings())

    assert shared_limiter("token", hs.settings()) is one
    assert shared_limiter("another", hs.settings()) is not one
    del one
    gc.collect()
    assert not _limiters


@pytest.mark.asyncio
async def test_the_token_itself_is_not_kept(hs):
    kept = shared_limiter("pat-secret", hs.settings())

    assert kept is not None
    assert "pat-secret" not in str(list(_limiters))
