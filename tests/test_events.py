"""Events: their log lines and levels."""

from __future__ import annotations

import logging

import attrs
import pytest

from anytrack_async import events
from anytrack_async.events import (
    BackPressure,
    BackPressureEnded,
    Contradicted,
    DeadLettered,
    DeadLettersExpired,
    Delivered,
    Dropped,
    Event,
    LaneDown,
    LaneHeld,
    LaneResumed,
    LaneThrottled,
    LogLine,
    Retried,
    Skipped,
    Submitted,
    UnusualConfirmation,
    Weakened,
)
from anytrack_async.models.contradiction import find_contradiction
from anytrack_async.observers import LoggingObserver

IDS = ["e1", "e2"]

WAIT = "callers wait for up to 10 s"
RESUME = "submit more slowly"
RESTART = (
    "add the missing key to ANYTRACK_OUTBOX_KEYS and restart; `anytrack outbox keys` lists the ids "
    "of all keys that the file needs, and client.resume('crm') does not help before"
)
REPLACE = "replace the credentials with client.use_token('meta', …), or restart with new ones"
OTHERWISE = "in other words than documented, which counts as delivered"
CORRECT = "correct the configuration, in the settings or at the destination,"

CONTRADICTION = find_contradiction("e1", "sale 49.90 USD", "lead 5 EUR")
CHECK = (
    "check what sent the second; if these are two conversions, each needs an event_id of its own"
)

COUNTED = "(logged once, counted in stats())"
LINES: list[tuple[Event, int, str]] = [
    (Submitted(event_ids=IDS), logging.DEBUG, "accepted 2 conversions"),
    (
        Contradicted(contradiction=CONTRADICTION),
        logging.WARNING,
        f"{CONTRADICTION}: the first one is kept, {CHECK}",
    ),
    (
        Delivered(destination="meta", event_ids=IDS, seconds=0.5),
        logging.DEBUG,
        "meta: delivered 2 conversions in 0.500 s",
    ),
    (
        Retried(destination="meta", event_ids=IDS, reason="status 503", seconds=1.25),
        logging.INFO,
        "meta: 2 conversions will be retried in 1.2 s: status 503",
    ),
    (
        LaneThrottled(destination="meta", reason="code 4", seconds=60),
        logging.WARNING,
        "meta: throttled for 60 s: code 4",
    ),
    (
        LaneDown(destination="meta", reason="status 503"),
        logging.WARNING,
        "meta: down, probing: status 503",
    ),
    (
        LaneHeld(destination="meta", reason="code 190", cause="credentials"),
        logging.ERROR,
        f"meta: held, nothing is lost: code 190; {REPLACE}",
    ),
    (
        LaneHeld(destination="crm", reason="no pipeline 'Shop'", cause="configuration"),
        logging.ERROR,
        f"crm: held, nothing is lost: no pipeline 'Shop'; {CORRECT} and call client.resume('crm')",
    ),
    (
        LaneHeld(destination="crm", reason="add the key", cause="encryption"),
        logging.ERROR,
        f"crm: held, nothing is lost: add the key; {RESTART}",
    ),
    (
        BackPressure(
            destination="meta",
            waiting=10_000,
            since=1_700_000_000.0,
            state="held",
            reason="code 190",
            effect=WAIT,
            action=RESUME,
        ),
        logging.WARNING,
        f"meta: full since 22:13:20 UTC with 10000 conversions (held: code 190), {WAIT}; {RESUME}",
    ),
    (
        BackPressureEnded(destination="meta", seconds=12.34, dropped=3),
        logging.INFO,
        "meta: has room again after 12.3 s, 3 conversions were dropped",
    ),
    (LaneResumed(destination="meta"), logging.INFO, "meta: delivering again"),
    (
        DeadLettered(destination="meta", event_id="e1", reason="too old", code="2804003"),
        logging.ERROR,
        "meta: e1 is now a dead letter: too old",
    ),
    (
        DeadLettersExpired(destination="meta", count=3, kept_for=30 * 86_400.0),
        logging.WARNING,
        "meta: discarded 3 dead letters that were older than 30.0 days",
    ),
    (
        Dropped(destination="meta", event_ids=IDS, reason="closed"),
        logging.ERROR,
        "meta: dropped 2 undelivered conversions: closed: e1, e2",
    ),
    (
        Skipped(destination="meta", event_ids=IDS, reason="no consent: ad_user_data is denied"),
        logging.INFO,
        f"meta: skipped conversions: no consent: ad_user_data is denied {COUNTED}",
    ),
    (
        Weakened(destination="meta", reason="website events without user_agent"),
        logging.WARNING,
        f"meta: matched less well: website events without user_agent {COUNTED}",
    ),
    (
        Weakened(reason="private IP addresses", count=2),
        logging.WARNING,
        f"left out or cut: private IP addresses {COUNTED}",
    ),
    (
        UnusualConfirmation(destination="meta", answer="status 204, no body"),
        logging.WARNING,
        f"meta: confirms {OTHERWISE}: status 204, no body (logged once)",
    ),
]


EVENTS = [event for event, _, _ in LINES]
CASES = pytest.mark.parametrize(
    ("event", "level", "text"), LINES, ids=[type(event).__name__ for event in EVENTS]
)


@attrs.frozen(kw_only=True)
class Archived(Event):
    """An event that the package does not know."""

    level = logging.WARNING
    destination: str
    count: int

    def log_line(self) -> LogLine:
        return "%s: archived %d", self.destination, self.count


def test_every_event_has_a_log_line():
    public = {getattr(events, name) for name in events.__all__}
    kinds = {kind for kind in public if issubclass(kind, Event)} - {Event}

    assert {type(event) for event in EVENTS} == kinds


def test_each_kind_of_weakness_is_logged_once_for_each_destination(caplog):
    log = LoggingObserver()
    for destination in (None, "meta", "meta", "crm", None):
        for kind in ("private IP addresses", "unusable click ids"):
            log.notify(Weakened(destination=destination, reason=kind, count=3))
    LoggingObserver().notify(Weakened(reason="unusable click ids"))

    assert len(caplog.messages) == 3 * 2 + 1
    assert len({*caplog.messages}) == 3 * 2


def test_a_new_event_is_one_class(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.WARNING, "anytrack_async")

    LoggingObserver().notify(Archived(destination="meta", count=3))

    assert caplog.record_tuples == [("anytrack_async", logging.WARNING, "meta: archived 3")]


def test_an_event_needs_a_log_line():
    with pytest.raises(TypeError, match="log_line"):
        Event()  # type: ignore[abstract]


@CASES
def test_events_are_logged_at_their_level(
    event: Event, level: int, text: str, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG, "anytrack_async")

    LoggingObserver().notify(event)

    assert caplog.record_tuples == [("anytrack_async", level, text)]


@CASES
def test_a_line_below_the_loggers_level_is_not_built(
    event: Event,
    level: int,
    text: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
):
    def build(self: Event) -> LogLine:
        raise AssertionError("built a log line that is logged nowhere")

    monkeypatch.setattr(type(event), "log_line", build)
    caplog.set_level(level + 1, "anytrack_async")

    LoggingObserver().notify(event)

    assert caplog.records == []


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_events_are_frozen(event: Event):
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        event.destination = "other"  # type: ignore[misc]
