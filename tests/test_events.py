"""Observers: what the log says at which level, and that nobody's failure matters."""

from __future__ import annotations

import logging
from typing import Any, get_args

import attrs
import pytest

from anytrack_async.errors import ConfigurationError
from anytrack_async.events import (
    DeadLettered,
    Delivered,
    Dropped,
    Event,
    LaneDown,
    LaneHeld,
    LaneResumed,
    LaneThrottled,
    LoggingObserver,
    Observers,
    Retried,
    Submitted,
    Weakened,
    name_some,
)

SECRET = "jane@example.com"
IDS = ["e1", "e2"]

LINES: list[tuple[Event, int, str]] = [
    (Submitted(event_ids=IDS), logging.DEBUG, "accepted 2"),
    (
        Delivered(destination="meta", event_ids=IDS, seconds=0.5),
        logging.DEBUG,
        "meta: delivered 2 in 0.500 s",
    ),
    (
        Retried(destination="meta", event_ids=IDS, reason="status 503", seconds=1.25),
        logging.INFO,
        "meta: 2 again in 1.2 s: status 503",
    ),
    (
        LaneThrottled(destination="meta", reason="code 4", seconds=60),
        logging.WARNING,
        "meta: throttled for 60 s: code 4",
    ),
    (
        LaneDown(destination="meta", reason="status 503"),
        logging.WARNING,
        "meta: does not answer, probing: status 503",
    ),
    (
        LaneHeld(destination="meta", reason="code 190"),
        logging.ERROR,
        "meta: held, nothing is lost; replace the credentials and resume: code 190",
    ),
    (LaneResumed(destination="meta"), logging.INFO, "meta: works again"),
    (
        DeadLettered(destination="meta", event_id="e1", reason="too old", code="2804003"),
        logging.ERROR,
        "meta: e1 is now a dead letter: too old",
    ),
    (
        Dropped(destination="meta", event_ids=IDS, reason="closed"),
        logging.ERROR,
        "meta: gave up 2: closed: e1, e2",
    ),
    (
        Weakened(destination="meta", reason="website events without user_agent"),
        logging.WARNING,
        "meta: website events without user_agent are matched less well (told once)",
    ),
]


def test_there_is_a_line_for_every_event():
    assert {type(event) for event, _, _ in LINES} == set(get_args(Event))


@pytest.mark.parametrize(("event", "level", "text"), LINES, ids=lambda one: type(one).__name__)
def test_what_the_log_says(event: Event, level: int, text: str, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG, "anytrack_async")

    LoggingObserver().notify(event)

    assert caplog.record_tuples == [("anytrack_async", level, text)]


@pytest.mark.parametrize(("event", "level", "text"), LINES, ids=lambda one: type(one).__name__)
def test_what_the_level_hides_is_not_said(
    event: Event, level: int, text: str, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(level + 1, "anytrack_async")

    LoggingObserver().notify(event)

    assert caplog.records == []


@pytest.mark.parametrize("event", [event for event, _, _ in LINES], ids=lambda e: type(e).__name__)
def test_events_are_frozen(event: Event):
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        event.destination = "other"  # type: ignore[misc]


def test_twenty_ids_are_named_and_the_rest_counted():
    ids = [str(number) for number in range(25)]

    assert name_some(ids[:20]) == ", ".join(ids[:20])
    assert name_some(ids) == ", ".join(ids[:20]) + " and 5 more"
    assert name_some([]) == ""


class Remembering:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def notify(self, event: Event, /) -> None:
        self.events.append(event)


class Raising:
    def notify(self, event: Event, /) -> None:
        raise RuntimeError(f"cannot tell {SECRET}")


def test_an_observer_that_raises_harms_nobody(caplog: pytest.LogCaptureFixture):
    before, after = Remembering(), Remembering()
    event = LaneResumed(destination="meta")

    Observers([before, Raising(), after]).notify(event)

    assert before.events == after.events == [event]
    assert caplog.messages == [
        "observer Raising failed with RuntimeError on LaneResumed; delivery goes on"
    ]
    assert SECRET not in caplog.text
    assert caplog.records[0].exc_info is None


def test_what_ends_the_process_is_not_swallowed():
    class Ending:
        def notify(self, event: Event, /) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Observers([Ending()]).notify(LaneResumed(destination="meta"))


def test_an_event_of_somebody_else_harms_nobody(caplog: pytest.LogCaptureFixture):
    later = Remembering()

    Observers([LoggingObserver(), later]).notify("not an event")  # type: ignore[arg-type]

    assert later.events == ["not an event"]
    assert "observer LoggingObserver failed" in caplog.text


class Awaited:
    async def notify(self, event: Event, /) -> None: ...


@pytest.mark.parametrize("observer", [Awaited(), print, None, object()], ids=repr)
def test_what_cannot_be_told_is_refused_at_once(observer: Any):
    with pytest.raises(ConfigurationError, match=r"needs a notify\(event\) that is not async"):
        Observers([observer])
