"""`FlowControl`: lanes that are held, resumed and paused."""

import math

import pytest

from anytrack_async.delivery.flow import LaneState
from anytrack_async.events import LaneHeld, LaneResumed


def test_a_held_lane_sends_one_event_and_keeps_probing(flow):
    for _ in range(3):
        flow.hold("401", "credentials", flow.record_send())
        assert flow.sends_in == 300
        flow.clock.now += 300

    assert flow.events == [LaneHeld(destination="meta", reason="401", cause="credentials")]
    assert flow.probing


def test_a_success_sent_before_the_hold_does_not_resume(flow):
    early, late = flow.record_send(), flow.record_send()
    flow.hold("401", "credentials", late)

    flow.record_success(early, delivered=True)

    assert flow.state is LaneState.HELD
    assert flow.kinds() == [LaneHeld]


def test_a_rejected_probe_does_not_resume_a_held_lane(flow):
    flow.hold("401", "credentials", flow.record_send())

    flow.record_success(flow.record_send(), delivered=False)
    assert flow.state is LaneState.HELD

    flow.record_success(flow.record_send(), delivered=True)
    assert flow.state is LaneState.RUNNING


@pytest.mark.parametrize("answer", ["throttle", "fail"])
def test_a_held_lane_stays_held_despite_other_failures(flow, answer):
    flow.hold("401", "credentials", flow.record_send())
    flow.clock.now += 300

    for _ in range(4):
        flow.record_failure("503") if answer == "fail" else flow.throttle("slow down", 5)

    assert flow.state is LaneState.HELD
    assert flow.kinds() == [LaneHeld]


def test_resume_ends_a_hold_at_once(flow):
    flow.hold("401", "credentials", flow.record_send())

    flow.resume()

    assert not flow.sends_in
    assert flow.probing


@pytest.mark.parametrize("trouble", ["held", "down", "throttled"])
def test_a_resumed_lane_works_again_only_when_something_is_delivered(flow, trouble):
    if trouble == "held":
        flow.hold("401", "credentials", flow.record_send())
    elif trouble == "down":
        flow.fail_often()
    else:
        flow.throttle("slow down", 5)
    flow.resume()

    assert (flow.state, flow.kinds().count(LaneResumed)) == (LaneState(trouble), 0)

    flow.record_success(flow.record_send(), delivered=True)
    assert (flow.state, flow.kinds().count(LaneResumed)) == (LaneState.RUNNING, 1)


def test_a_refusal_after_resuming_is_told_again(flow):
    flow.hold("401", "credentials", flow.record_send())
    flow.resume()
    assert not flow.waits_for_operator

    flow.hold("expired", "credentials", flow.record_send())
    flow.hold("expired", "credentials", flow.record_send())

    assert flow.waits_for_operator
    assert [event.reason for event in flow.events] == ["401", "expired"]


def test_what_was_sent_before_the_resume_does_not_count_as_working(flow):
    flow.hold("401", "credentials", flow.record_send())
    probe = flow.record_send()
    flow.resume()

    flow.record_success(probe, delivered=True)

    assert flow.state is LaneState.HELD


def test_new_credentials_end_a_hold_but_no_other_pause(flow):
    flow.throttle("slow down", 5)
    flow.replace_credentials()
    assert flow.sends_in == 5

    flow.hold("401", "credentials", flow.record_send())
    flow.replace_credentials()
    assert not flow.sends_in


def test_a_late_refusal_of_replaced_credentials_does_not_hold(flow):
    early = flow.record_send()
    flow.replace_credentials()

    flow.hold("401", "credentials", early)

    assert flow.state is LaneState.RUNNING


def test_a_late_refusal_of_old_credentials_does_not_hold_again(flow):
    early, late = flow.record_send(), flow.record_send()
    flow.hold("401", "credentials", early)
    flow.resume()

    flow.hold("401", "credentials", late)
    assert not flow.sends_in

    flow.hold("401", "credentials", flow.record_send())
    assert flow.sends_in


def test_a_late_refusal_of_an_old_probe_does_not_hold_again(flow):
    flow.hold("401", "credentials", flow.record_send())
    probe = flow.record_send()
    flow.resume()

    flow.hold("401", "credentials", probe)

    assert not flow.sends_in
    assert flow.kinds() == [LaneHeld]


def test_resuming_a_running_lane_sends_no_event(flow):
    flow.resume()

    assert flow.events == []


def test_resuming_resets_the_count_of_failures(flow):
    flow.fail_often()

    flow.resume()

    assert not flow.failures
    flow.record_failure("503")
    assert flow.sends_in <= 1.0  # as long as after a first failure


def test_a_paused_lane_sends_nothing_whatever_comes_back(flow):
    generation = flow.record_send()
    flow.pause("stock-taking")

    flow.clock.now += 86_400
    flow.record_success(generation, delivered=True)
    flow.throttle("slow down", 5)
    flow.hold("401", "credentials", generation)
    flow.fail_often()

    assert (flow.state, flow.reason) == (LaneState.PAUSED, "stock-taking")
    assert flow.sends_in == flow.paused_for == math.inf
    assert flow.known_pause == 0
    assert not flow.waits_for_operator


def test_a_paused_lane_sends_at_once_when_it_is_resumed(flow):
    flow.pause("stock-taking")
    flow.clock.now += 60
    paused_for = flow.state_for
    flow.resume()

    assert (flow.state, flow.reason, flow.sends_in) == (LaneState.RUNNING, "", 0)
    assert not flow.probing
    assert (paused_for, flow.state_for) == (60, 0)
    assert flow.events == []
