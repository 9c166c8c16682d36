import gc

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytrack_async.destinations.hubspot.rate_limit import (
    RateLimiter,
    RollingWindow,
    _windows,
    reported_limits,
    shared_window,
)
from tests.destinations.hubspot import virtual_time

FOREVER = 1e9


def take(window, now):
    """Return the number of requests that are admitted at once."""
    taken = 0
    while window.try_acquire(now) == 0:
        taken += 1
    return taken


def test_a_window_admits_as_many_requests_as_its_limit():
    window = RollingWindow(100, 10.0)

    assert take(window, 0.0) == 100
    assert take(window, 5.0) == 0


def test_the_wait_ends_when_the_oldest_request_leaves():
    window = RollingWindow(2, 10.0)
    window.try_acquire(0.0)
    window.try_acquire(4.0)

    assert window.try_acquire(5.0) == pytest.approx(
        5.2
    )  # a little more than ten seconds after the first
    assert window.try_acquire(10.3) == 0
    assert window.try_acquire(10.3) == pytest.approx(3.9)


def test_never_more_than_the_limit_in_any_window():
    window, now, sent = RollingWindow(5, 1.0), 0.0, []
    while len(sent) < 60:
        wait = window.try_acquire(now)
        if wait == 0:
            sent.append(now)
        now += wait or 0.01

    assert max(sum(1 for t in sent if start <= t < start + 1.0) for start in sent) == 5


def test_a_pause_stops_every_request_until_it_ends():
    window = RollingWindow(100, 10.0)
    window.pause(3.0)
    window.pause(1.0)

    assert window.try_acquire(2.0) == 1.0
    assert window.try_acquire(3.0) == 0


def test_hubspots_limit_replaces_ours():
    window = RollingWindow(100, 10.0)
    window.learn(0.0, 190, 190, 10.0)

    assert take(window, 0.0) == 190


def test_a_smaller_limit_waits_until_enough_requests_left():
    window = RollingWindow(10, 10.0)
    for second in range(6):
        window.try_acquire(float(second))
    window.learn(6.0, 3, None, 10.0)

    assert window.try_acquire(6.0) == pytest.approx(3 + 10.2 - 6.0)


def test_requests_of_other_programs_count():
    window = RollingWindow(100, 10.0)
    window.try_acquire(0.0)
    window.learn(0.0, 100, 30, 10.0)

    assert take(window, 0.0) == 30
    assert take(window, 10.3) == 100


def test_requests_in_flight_are_not_counted_twice():
    window = RollingWindow(100, 10.0)
    for _ in range(40):
        window.try_acquire(0.0)
    window.learn(0.0, 100, 99, 10.0)  # the response to the first request

    assert take(window, 0.0) == 60


def test_hubspots_interval_replaces_ours():
    window = RollingWindow(1, 10.0)
    window.learn(0.0, None, None, 1.0)
    window.try_acquire(0.0)

    assert window.try_acquire(1.5) == 0


def filled(window, *times):
    for moment in times:
        window.try_acquire(moment)
    return window


def test_an_empty_window_needs_no_spacing():
    assert RollingWindow(100, 10.0).spacing(0.0, 0.0, 2) == 0


def test_free_requests_are_spread_until_the_window_rolls():
    window = filled(RollingWindow(100, 10.0), *[0.0] * 80)

    # Ten batches have room, the eleventh once the eighty have left, at 10.2.
    assert window.spacing(0.0, 0.0, 2) == pytest.approx(10.2 / 10.5)
    assert window.spacing(10.3, 10.3, 2) == 0


def test_spacing_is_counted_from_the_last_batch():
    window = filled(RollingWindow(100, 10.0), *[0.0] * 80)

    assert window.spacing(0.5, 0.5, 2) == pytest.approx(10.2 / 10.5 - 0.5)
    assert window.spacing(2.0, 2.0, 2) == 0


def test_an_evenly_used_window_spaces_at_its_own_rate():
    window = filled(RollingWindow(100, 10.0), *(n * 0.102 for n in range(100)))

    assert window.spacing(10.1, 0.0, 2) == pytest.approx(0.204, abs=0.01)


@pytest.mark.parametrize("most", [1, 2, 3])
def test_a_full_window_spaces_until_a_batch_has_room(most):
    window = filled(RollingWindow(most, 10.0), *[0.0] * most)

    assert window.spacing(4.0, 4.0, 2) == pytest.approx(6.2)


def test_a_limit_that_shrank_spaces_until_a_batch_has_room():
    window = filled(RollingWindow(10, 10.0), *map(float, range(10)))
    window.learn(9.0, 4, None, None)

    # The eighth leaves at 17.2; then two of the four have room.
    assert window.spacing(9.0, 0.0, 2) == pytest.approx(17.2 - 9.0)


@pytest.mark.parametrize("now", [0.0, 5.0])
def test_a_limit_that_is_far_away_needs_no_spacing(now):
    window = filled(RollingWindow(10**9, 10.0), *[0.0] * 1000)

    assert window.spacing(now, 0.0, 3) == 0


@given(
    used=st.lists(st.floats(0.0, 10.0), max_size=40).map(sorted),
    cost=st.integers(1, 4),
    most=st.integers(4, 50),
)
def test_spaced_batches_never_meet_a_full_window(used, cost, most):
    window = filled(RollingWindow(most, 10.0), *used[:most])
    last = now = 10.0
    for _ in range(30):
        now += window.spacing(now, now - last, cost) + 1e-9
        assert all(window.try_acquire(now) == 0 for _ in range(cost))
        last = now


def limiter_of(hs, identity="token", **settings):
    return RateLimiter(lambda: identity, hs.settings(**settings))


def test_requests_are_admitted_in_order_of_arrival(hs):
    limiter, order = limiter_of(hs, rate_limit=1, rate_interval=5.0), []

    async def go(number):
        await limiter.acquire()
        order.append((number, anyio.current_time()))

    async def all_go():
        async with anyio.create_task_group() as tg:
            for number in range(5):
                tg.start_soon(go, number)
                await anyio.lowlevel.checkpoint()

    virtual_time.run(all_go())

    assert order == [(number, pytest.approx(number * 5.1)) for number in range(5)]


@pytest.mark.asyncio
async def test_a_cancelled_request_uses_no_room(hs):
    limiter = limiter_of(hs, rate_limit=1, rate_interval=FOREVER)
    window = await limiter.acquire()
    with anyio.move_on_after(0) as scope:
        await limiter.acquire()
    window.learn(anyio.current_time(), 2, None, None)

    assert scope.cancelled_caught
    with anyio.fail_after(1):
        await limiter.acquire()


@pytest.mark.asyncio
async def test_a_request_that_is_not_counted_is_sent_at_once(hs):
    limiter = limiter_of(hs, rate_limit=1, rate_interval=FOREVER)

    with anyio.fail_after(1):
        await limiter.acquire()
        await limiter.acquire(counted=False)


@pytest.mark.asyncio
async def test_spacing_follows_the_window_and_is_none_before_the_first_request(hs):
    limiter = limiter_of(hs, rate_limit=3, rate_interval=FOREVER)

    assert limiter.spacing(0.0) == 0.0
    for _ in range(3):
        await limiter.acquire()
    assert limiter.spacing(0.0) == pytest.approx(FOREVER * 1.02, rel=0.01)


def test_numbers_are_read_from_headers():
    headers = {
        "x-hubspot-ratelimit-max": "7",
        "x-hubspot-ratelimit-remaining": "2",
        "x-hubspot-ratelimit-interval-milliseconds": "4000",
    }

    assert reported_limits(headers) == (7, 2, 4.0)
    window = RollingWindow(100, 10.0)
    window.learn(0.0, *reported_limits(headers))
    assert (window.limit, window.interval, take(window, 0.0)) == (7, 4.0, 2)


def test_headers_without_a_number_change_nothing():
    headers = {"x-hubspot-ratelimit-max": "many"}

    assert reported_limits(headers) == (None, None, None)
    window = RollingWindow(100, 10.0)
    window.learn(0.0, *reported_limits(headers))
    assert (window.limit, window.interval) == (100, 10.0)


@pytest.mark.asyncio
async def test_a_pause_is_for_every_sink_of_the_token(hs):
    first, second = limiter_of(hs), limiter_of(hs)
    await first.acquire()
    first.pause(1000)

    with anyio.move_on_after(0) as scope:
        await second.acquire()
    assert scope.cancelled_caught


@pytest.mark.asyncio
async def test_a_pause_before_the_first_request_changes_nothing(hs):
    limiter = limiter_of(hs)
    limiter.pause(1000)

    with anyio.fail_after(1):
        await limiter.acquire()


@pytest.mark.asyncio
async def test_a_token_has_one_window_which_is_forgotten_after_use(hs):
    limiter = limiter_of(hs)
    window = await limiter.acquire()

    assert await limiter_of(hs).acquire() is window
    assert await limiter_of(hs, "another").acquire() is not window
    del limiter, window
    gc.collect()
    assert not _windows


@pytest.mark.asyncio
async def test_the_token_itself_is_not_kept(hs):
    window = shared_window("pat-secret", hs.settings())

    assert window is not None
    assert "pat-secret" not in str(list(_windows))


@pytest.mark.parametrize("digits", [12, 300, 5_000])
def test_an_absurd_interval_stops_requests_for_a_minute_at_most(digits):
    headers = {"x-hubspot-ratelimit-interval-milliseconds": "9" * digits}

    assert reported_limits(headers) == (None, None, 60.0)
