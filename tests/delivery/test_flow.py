import math

import pytest

from anytrack_async.delivery.flow import LaneState
from anytrack_async.events import LaneDown, LaneResumed, LaneThrottled
from tests.delivery.doubles import WatchedFlow


def test_a_new_lane_may_send_at_once(flow):
    assert flow.state is LaneState.RUNNING
    assert not flow.sends_in
    assert not flow.probing


def test_the_rate_spaces_batches():
    flow = WatchedFlow(rate=4)

    flow.record_send()
    assert flow.sends_in == 0.25
    flow.record_send()
    assert flow.sends_in == 0.5

    flow.clock.now += 10
    flow.record_send()
    assert flow.sends_in == 0.25


def test_the_rate_is_kept_when_a_lane_is_resumed():
    flow = WatchedFlow(rate=4)
    flow.throttle("slow down", 5)
    flow.record_send()

    flow.resume()

    assert flow.sends_in == 0.25


def test_a_success_at_a_limited_rate_ends_a_pause_that_is_over():
    flow = WatchedFlow(rate=1)
    flow.throttle("slow down", 5)
    flow.clock.now += 5
    mark = flow.record_send()

    flow.record_success(mark, delivered=True)

    assert flow.state is LaneState.RUNNING


def test_three_failures_in_a_row_mean_down_with_one_event(flow):
    flow.record_failure("503")
    flow.record_failure("503")
    assert flow.state is LaneState.RUNNING
    assert not flow.sends_in

    flow.record_failure("no answer")
    flow.record_failure("503")

    assert flow.events == [LaneDown(destination="meta", reason="no answer")]
    assert flow.probing
    assert flow.failures


def test_a_delivery_between_failures_keeps_the_lane_running(flow):
    for _ in range(5):
        flow.record_failure("503")
        flow.record_success(flow.record_send(), delivered=True)

    assert flow.events == []
    assert not flow.failures


def test_probes_wait_longer_and_longer_up_to_the_cap(flow):
    waits = []
    for _ in range(400):
        flow.record_failure("503")
        waits.append(flow.sends_in)
        flow.clock.now += flow.sends_in

    assert waits[:2] == [0, 0]
    assert max(waits[2:4]) <= 8
    assert 4 < max(waits) <= 8


def test_a_success_ends_the_down_state(flow):
    flow.fail_often()

    flow.record_success(flow.record_send(), delivered=False)

    assert flow.state is LaneState.RUNNING
    assert not flow.sends_in
    assert flow.kinds() == [LaneDown, LaneResumed]


def test_a_service_that_throttles_is_not_down(flow):
    flow.fail_often()

    flow.throttle("slow down", 5)

    assert flow.state is LaneState.THROTTLED
    assert not flow.probing
    assert not flow.failures


@pytest.mark.parametrize(
    ("asked", "pause"), [(5.0, 5.0), (1e5, 100.0), (1e308, 100.0), (math.inf, 100.0)]
)
def test_a_throttled_lane_pauses_as_asked_within_reason(flow, asked, pause):
    flow.throttle("slow down", asked)

    assert flow.sends_in == pause
    assert flow.events == [LaneThrottled(destination="meta", reason="slow down", seconds=pause)]


@pytest.fixture
def no_jitter(monkeypatch):
    monkeypatch.setattr("backoff.full_jitter", lambda longest: longest)


@pytest.mark.usefixtures("no_jitter")
class TestThrottledAgain:
    """Throttled, and asked to wait for less than the backoff."""

    def throttle(self, flow, seconds=0.0, *, delivered=False):
        """Return the seconds of the pause, and let it pass."""
        flow.record_send()
        flow.throttle("slow down", seconds, delivered=delivered)
        pause = flow.sends_in
        flow.clock.now += pause
        return pause

    @pytest.mark.parametrize("asked", [0.0, -1.0, math.nan, -math.inf, 1e-9])
    def test_pauses_grow_when_the_destination_asks_for_none(self, flow, asked):
        pauses = [self.throttle(flow, asked) for _ in range(5)]

        assert pauses == pytest.approx([1.0, 2.0, 4.0, 8.0, 8.0])
        assert flow.kinds() == [LaneThrottled]
        assert flow.events[0].seconds == pytest.approx(1.0)

    def test_a_longer_request_counts(self, flow):
        assert [self.throttle(flow, 3.0) for _ in range(3)] == pytest.approx([3.0, 3.0, 4.0])

    @pytest.mark.parametrize("delivered", [True, False])
    def test_a_success_ends_the_growth(self, flow, delivered):
        self.throttle(flow)
        self.throttle(flow)

        flow.record_success(flow.record_send(), delivered=delivered)

        assert self.throttle(flow) == pytest.approx(1.0)

    def test_resuming_ends_the_growth(self, flow):
        self.throttle(flow)
        flow.resume()

        assert self.throttle(flow) == pytest.approx(1.0)

    def test_pauses_do_not_grow_while_something_is_delivered(self, flow):
        assert self.throttle(flow) == pytest.approx(1.0)
        assert self.throttle(flow) == pytest.approx(2.0)
        assert self.throttle(flow, delivered=True) == pytest.approx(1.0)
        assert self.throttle(flow, delivered=True) == pytest.approx(1.0)

    def test_the_responses_to_concurrent_requests_are_one_pause(self, flow):
        for _ in range(6):
            flow.throttle("slow down", 0.0)
        assert flow.sends_in == pytest.approx(1.0)

        flow.clock.now += 1.0
        assert self.throttle(flow) == pytest.approx(2.0)


def test_a_response_to_an_earlier_request_does_not_end_a_pause(flow):
    mark = flow.record_send()
    flow.throttle("slow down", 5)

    flow.record_success(mark, delivered=True)
    assert flow.sends_in == 5

    flow.clock.now += 5
    flow.record_success(flow.record_send(), delivered=True)
    assert flow.kinds() == [LaneThrottled, LaneResumed]


def test_repeated_throttling_sends_no_more_events(flow):
    flow.throttle("slow down", 5)
    flow.clock.now += 5
    flow.throttle("slow down", 7)

    assert flow.sends_in == 7
    assert flow.kinds() == [LaneThrottled]


def test_a_shorter_pause_does_not_cut_a_longer_one(flow):
    flow.throttle("slow down", 50)
    flow.throttle("slow down", 1)

    assert flow.sends_in == 50


def test_a_delivery_during_a_pause_counts_against_failures(flow):
    flow.throttle("slow down", 5)
    flow.record_failure("503")
    flow.record_failure("503")

    flow.record_success(flow.record_send(), delivered=True)
    flow.record_failure("503")

    assert flow.state is LaneState.THROTTLED


def test_failures_before_a_service_throttled_do_not_count(flow):
    flow.record_failure("503")
    flow.record_failure("503")
    flow.throttle("slow down", 5)

    flow.record_failure("503")

    assert flow.state is LaneState.THROTTLED


def test_spacing_gets_the_seconds_since_the_last_batch():
    flow = WatchedFlow(spacing=lambda since: 10.0 - since)
    flow.record_send()
    flow.clock.now += 4.0

    assert flow.lingers_for == 6.0
    assert not flow.sends_in  # it asks for fuller batches, it stops nothing


def test_the_longer_of_linger_and_spacing_counts():
    flow = WatchedFlow(spacing=lambda since: 1.0 - since, linger=0.25)
    flow.record_send()

    assert flow.lingers_for == 1.0
    flow.clock.now += 0.9
    assert flow.lingers_for == 0.25


def test_without_spacing_a_lane_lingers_as_long_as_it_is_set():
    assert WatchedFlow(linger=0.25).lingers_for == 0.25


def test_a_clock_set_back_does_not_lengthen_spacing():
    flow = WatchedFlow(spacing=lambda since: 10.0 - since)
    flow.record_send()
    flow.clock.now -= 3600.0

    assert flow.lingers_for == 10.0


def test_a_failing_spacing_is_logged_once_and_dropped(caplog):
    def broken(_):
        raise ValueError("ada@example.com")

    flow = WatchedFlow(spacing=broken, linger=0.5)

    assert flow.lingers_for == flow.lingers_for == 0.5
    (record,) = caplog.records
    assert "meta" in record.message
    assert "ValueError in broken" in record.message
    assert "ada@example.com" not in record.message
