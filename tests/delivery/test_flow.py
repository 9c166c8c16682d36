import math

import pytest

from anytrack_async.delivery.flow import Gate, LaneState
from anytrack_async.events import LaneDown, LaneHeld, LaneResumed, LaneThrottled
from anytrack_async.settings.http import Retry
from tests.delivery.doubles import Clock


class Watched(Gate):
    """A gate with its clock and what it told."""

    def __init__(self, rate=None, spacing=lambda _: 0.0):
        self.clock = Clock()
        self.events = []
        super().__init__(
            "meta",
            probe=Retry(base=1.0, cap=8.0),
            hint_cap=100.0,
            hold_probe=300.0,
            rate=rate,
            spacing=spacing,
            clock=self.clock,
            notify=self.events.append,
        )

    def kinds(self):
        return [type(event) for event in self.events]

    def fail_often(self):
        for _ in range(3):
            self.fail("503")


@pytest.fixture
def gate():
    return Watched()


def test_a_new_gate_is_open(gate):
    assert gate.state is LaneState.RUNNING
    assert not gate.opens_in
    assert not gate.probing


def test_the_rate_spaces_batches():
    gate = Watched(rate=4)

    gate.sent()
    assert gate.opens_in == 0.25
    gate.sent()
    assert gate.opens_in == 0.5

    gate.clock.now += 10
    gate.sent()
    assert gate.opens_in == 0.25


def test_the_rate_is_kept_when_a_lane_is_reopened():
    gate = Watched(rate=4)
    gate.throttle("slow down", 5)
    gate.sent()

    gate.reopen()

    assert gate.opens_in == 0.25


def test_a_success_at_a_limited_rate_ends_a_pause_that_is_over():
    gate = Watched(rate=1)
    gate.throttle("slow down", 5)
    gate.clock.now += 5
    mark = gate.sent()

    gate.succeed(mark, delivered=True)

    assert gate.state is LaneState.RUNNING


def test_three_failures_in_a_row_are_a_service_that_is_down_told_once(gate):
    gate.fail("503")
    gate.fail("503")
    assert gate.state is LaneState.RUNNING
    assert not gate.opens_in

    gate.fail("no answer")
    gate.fail("503")

    assert gate.events == [LaneDown(destination="meta", reason="no answer")]
    assert gate.probing
    assert gate.failing


def test_a_delivery_between_failures_keeps_the_lane_running(gate):
    for _ in range(5):
        gate.fail("503")
        gate.succeed(gate.sent(), delivered=True)

    assert gate.events == []
    assert not gate.failing


def test_probes_wait_longer_and_longer_up_to_the_cap(gate):
    waits = []
    for _ in range(400):
        gate.fail("503")
        waits.append(gate.opens_in)
        gate.clock.now += gate.opens_in

    assert waits[:2] == [0, 0]
    assert max(waits[2:4]) <= 8
    assert 4 < max(waits) <= 8


def test_an_answer_ends_the_down_time(gate):
    gate.fail_often()

    gate.succeed(gate.sent(), delivered=False)

    assert gate.state is LaneState.RUNNING
    assert not gate.opens_in
    assert gate.kinds() == [LaneDown, LaneResumed]


def test_a_service_that_throttles_is_not_down(gate):
    gate.fail_often()

    gate.throttle("slow down", 5)

    assert gate.state is LaneState.THROTTLED
    assert not gate.probing
    assert not gate.failing


@pytest.mark.parametrize(
    ("asked", "pause"), [(5.0, 5.0), (1e9, 100.0), (-1.0, 0.0), (math.nan, 0.0)]
)
def test_a_throttled_lane_pauses_as_asked_within_reason(gate, asked, pause):
    gate.throttle("slow down", asked)

    assert gate.opens_in == pause
    assert gate.events == [LaneThrottled(destination="meta", reason="slow down", seconds=pause)]


def test_an_answer_to_an_earlier_request_does_not_end_a_pause(gate):
    mark = gate.sent()
    gate.throttle("slow down", 5)

    gate.succeed(mark, delivered=True)
    assert gate.opens_in == 5

    gate.clock.now += 5
    gate.succeed(gate.sent(), delivered=True)
    assert gate.kinds() == [LaneThrottled, LaneResumed]


def test_throttling_goes_on_quietly(gate):
    gate.throttle("slow down", 5)
    gate.clock.now += 5
    gate.throttle("slow down", 7)

    assert gate.opens_in == 7
    assert gate.kinds() == [LaneThrottled]


def test_a_shorter_pause_does_not_cut_a_longer_one(gate):
    gate.throttle("slow down", 50)
    gate.throttle("slow down", 1)

    assert gate.opens_in == 50


def test_a_refusal_of_credentials_is_told_once_and_probed_quietly(gate):
    for _ in range(3):
        gate.hold("401", "credentials", gate.sent())
        assert gate.opens_in == 300
        gate.clock.now += 300

    assert gate.events == [LaneHeld(destination="meta", reason="401", cause="credentials")]
    assert gate.probing


def test_what_left_before_the_credentials_were_refused_proves_nothing(gate):
    early, late = gate.sent(), gate.sent()
    gate.hold("401", "credentials", late)

    gate.succeed(early, delivered=True)

    assert gate.state is LaneState.HELD
    assert gate.kinds() == [LaneHeld]


def test_a_probe_that_is_refused_does_not_prove_the_credentials(gate):
    gate.hold("401", "credentials", gate.sent())

    gate.succeed(gate.sent(), delivered=False)
    assert gate.state is LaneState.HELD

    gate.succeed(gate.sent(), delivered=True)
    assert gate.state is LaneState.RUNNING


@pytest.mark.parametrize("answer", ["throttle", "fail"])
def test_a_held_lane_stays_held_whatever_else_goes_wrong(gate, answer):
    gate.hold("401", "credentials", gate.sent())
    gate.clock.now += 300

    for _ in range(4):
        gate.fail("503") if answer == "fail" else gate.throttle("slow down", 5)

    assert gate.state is LaneState.HELD
    assert gate.kinds() == [LaneHeld]


def test_an_operator_reopens_at_once(gate):
    gate.hold("401", "credentials", gate.sent())

    gate.reopen()

    assert not gate.opens_in
    assert not gate.probing
    assert gate.kinds() == [LaneHeld, LaneResumed]


def test_a_refusal_of_the_old_credentials_does_not_hold_the_new_ones(gate):
    early, late = gate.sent(), gate.sent()
    gate.hold("401", "credentials", early)
    gate.reopen()

    gate.hold("401", "credentials", late)
    assert gate.state is LaneState.RUNNING

    gate.hold("401", "credentials", gate.sent())
    assert gate.state is LaneState.HELD


def test_a_probe_that_left_with_the_old_credentials_does_not_hold_the_new_ones(gate):
    gate.hold("401", "credentials", gate.sent())
    probe = gate.sent()
    gate.reopen()

    gate.hold("401", "credentials", probe)

    assert gate.state is LaneState.RUNNING


def test_reopening_an_open_lane_tells_nobody(gate):
    gate.reopen()

    assert gate.events == []


def test_a_lane_that_was_resumed_has_a_clean_record(gate):
    gate.fail_often()

    gate.reopen()

    assert not gate.failing
    gate.fail("503")
    assert gate.state is LaneState.RUNNING


def test_a_delivery_during_a_pause_counts_against_failures(gate):
    gate.throttle("slow down", 5)
    gate.fail("503")
    gate.fail("503")

    gate.succeed(gate.sent(), delivered=True)
    gate.fail("503")

    assert gate.state is LaneState.THROTTLED


def test_failures_before_a_service_throttled_do_not_count(gate):
    gate.fail("503")
    gate.fail("503")
    gate.throttle("slow down", 5)

    gate.fail("503")

    assert gate.state is LaneState.THROTTLED


def test_spacing_is_asked_with_the_seconds_since_the_last_batch():
    gate = Watched(spacing=lambda since: 10.0 - since)
    gate.sent()
    gate.clock.now += 4.0

    assert gate.spaced_for == 6.0
    assert not gate.opens_in  # it asks for fuller batches, it stops nothing


def test_a_clock_set_back_lengthens_no_spacing():
    gate = Watched(spacing=lambda since: 10.0 - since)
    gate.sent()
    gate.clock.now -= 3600.0

    assert gate.spaced_for == 10.0


def test_a_spacing_that_fails_spaces_nothing_and_is_told_once(caplog):
    def broken(_):
        raise ValueError("ada@example.com")

    gate = Watched(spacing=broken)

    assert gate.spaced_for == gate.spaced_for == 0.0
    (record,) = caplog.records
    assert "meta" in record.message
    assert "ValueError in broken" in record.message
    assert "ada@example.com" not in record.message
