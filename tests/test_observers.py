"""Observers: the log counts conversions that fail for one reason; a failure disturbs no other."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from anytrack_async.errors import ConfigurationError
from anytrack_async.events import (
    BackPressureEnded,
    Contradicted,
    DeadLettered,
    Dropped,
    Event,
    LaneHeld,
    LaneResumed,
    Retried,
)
from anytrack_async.models.contradiction import find_contradiction
from anytrack_async.observers import LoggingObserver, Observers

SECRET = "jane@example.com"
RESUMED = LaneResumed(destination="meta")


@pytest.fixture(autouse=True)
def no_logs_of_others(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Leave out what threads of earlier tests log, such as servers, and other libraries."""
    thread = threading.get_ident()

    class Own(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            return record.name.startswith("anytrack_async") and record.thread == thread

    with caplog.filtering(Own()):
        yield


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Log:
    """A `LoggingObserver` and the lines that it writes."""

    def __init__(self, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
        self.observer = LoggingObserver(clock=clock)
        self._caplog = caplog

    def notify(self, event: Event) -> list[str]:
        self._caplog.clear()
        self.observer.notify(event)
        return self._caplog.messages

    def dead(self, event_id: str, reason: str = "too old", **fields: Any) -> list[str]:
        values = {"destination": "meta", "event_id": event_id, "reason": reason}
        return self.notify(DeadLettered(**(values | fields)))

    def drop(self, *ids: str, destination: str = "meta") -> list[str]:
        return self.notify(Dropped(destination=destination, event_ids=ids, reason="it is full"))

    def flush(self, *, closing: bool = False) -> list[str]:
        self._caplog.clear()
        self.observer.flush(closing=closing)
        return self._caplog.messages


@pytest.fixture
def log(clock: Clock, caplog: pytest.LogCaptureFixture) -> Log:
    return Log(clock, caplog)


# Counting


def test_dead_letters_with_one_reason_are_one_line_a_minute(log: Log, clock: Clock):
    assert log.dead("e0") == ["meta: e0 is now a dead letter: too old"]
    for number in range(1, 1000):
        assert log.dead(f"e{number}") == []
    clock.now += 59
    assert log.flush() == []
    clock.now += 1
    assert log.flush() == ["meta: 999 more dead letters in 60 s, e.g. e1: too old"]
    assert log.dead("e1000") == []
    clock.now += 60
    assert log.notify(LaneHeld(destination="crm", reason="code 190"))[0] == (
        "meta: 1 more dead letters in 60 s, e.g. e1000: too old"
    )


def test_from_ten_contradictions_on_there_is_one_line_a_minute(log: Log, clock: Clock):
    def contradict(number: int) -> list[str]:
        contradiction = find_contradiction(f"e{number}", "sale 1 USD", "sale 2 USD")
        assert contradiction is not None
        return log.notify(Contradicted(contradiction=contradiction))

    for number in range(10):
        (line,) = contradict(number)
        assert line.startswith(
            f"conversion 'e{number}' was accepted as sale 1 USD and came again as sale 2 USD"
        )
    for number in range(10, 40):
        assert contradict(number) == []
    clock.now += 60
    (line,) = log.flush()
    assert line.startswith(
        "30 more conversions came again with another type, amount or currency in"
    )
    assert "in 60 s, the first ones are kept: e10, e11, " in line
    assert line.endswith("e29 and 10 more")
    assert contradict(40) == []
    assert len(log.flush(closing=True)) == 1


def test_a_reason_that_comes_back_after_a_quiet_minute_is_logged_at_once(log: Log, clock: Clock):
    log.dead("e0")
    clock.now += 60
    assert log.flush() == []

    assert log.dead("e1") == ["meta: e1 is now a dead letter: too old"]


def test_closing_writes_the_last_counts(log: Log, clock: Clock):
    log.dead("e0")
    log.dead("e1")
    log.dead("f0", "no such pipeline", destination="hubspot")
    clock.now += 12

    assert log.flush(closing=True) == ["meta: 1 more dead letters in 12 s, e.g. e1: too old"]
    assert log.flush(closing=True) == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (
            "given up after 8 attempts and 1.2 h: status 503",
            "given up after 8 attempts and 13.9 h: status 503",
        ),
        ("no order 10042 here", "no order 999381 here"),
        ("click id abc12x is unknown", "click id zz9 is unknown"),
    ],
)
def test_numbers_and_ids_do_not_make_another_reason(log: Log, first: str, second: str):
    assert len(log.dead("e0", first)) == 1
    assert log.dead("e1", second) == []


@pytest.mark.parametrize(
    "other",
    [
        {"destination": "crm"},
        {"code": "190"},
        {"reason": "status 400"},
        {"reason": "not too old"},
    ],
)
def test_another_destination_code_or_reason_is_another_line(log: Log, other: dict[str, Any]):
    log.dead("e0", "status 503", code="100")

    assert len(log.dead("e1", **({"reason": "status 503", "code": "100"} | other))) == 1


def test_the_number_of_reasons_is_bounded(log: Log, clock: Clock):
    words = [f"{letter}{other}" for letter in "abcdefghijklm" for other in "nopqrstuvwxyz"]
    logged = [log.dead(f"e{number}", word) for number, word in enumerate(words)]

    assert sum(map(len, logged)) == 100 + 1  # the first of the other reasons
    clock.now += 60
    assert log.flush() == ["meta: 68 more dead letters in 60 s, e.g. e101: other reasons"]


def test_drops_are_logged_at_once_then_once_a_minute(log: Log, clock: Clock):
    assert log.drop("a") == ["meta: dropped 1 undelivered conversions: it is full: a"]
    assert log.drop("b") == log.drop("c", "d") == []
    assert log.drop("x", destination="crm") == [
        "crm: dropped 1 undelivered conversions: it is full: x"
    ]
    clock.now += 60
    assert log.flush() == ["meta: dropped 3 undelivered conversions: it is full: b, c, d"]
    assert log.drop("f") == []

    ended = log.notify(BackPressureEnded(destination="meta", seconds=70.0, dropped=6))
    assert ended == ["meta: dropped 1 undelivered conversions: it is full: f"]


def test_a_line_names_twenty_dropped_conversions_and_counts_all(log: Log, clock: Clock):
    log.drop("a")
    for start in range(0, 1000, 10):
        log.drop(*map(str, range(start, start + 10)))

    (line,) = log.flush(closing=True)
    assert line.startswith("meta: dropped 1000 undelivered conversions: it is full: 0, 1, ")
    assert line.endswith(", 19 and 980 more")


# Failing


class Recorder:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def notify(self, event: Event, /) -> None:
        self.events.append(event)


class Raising:
    def notify(self, event: Event, /) -> None:
        raise RuntimeError(f"failed on {SECRET}")


class Failing:
    error: Exception

    def notify(self, event: Event, /) -> None:
        raise self.error


# Fields of log records


def test_a_log_record_has_the_fields_of_its_event(log: Log, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "anytrack_async")
    log.notify(Retried(destination="meta", event_ids=["a", "b"], reason="status 503", seconds=1.5))

    (record,) = caplog.records
    fields = {name: value for name, value in vars(record).items() if name.startswith("anytrack_")}
    assert fields == {
        "anytrack_event": "Retried",
        "anytrack_destination": "meta",
        "anytrack_count": 2,
        "anytrack_reason": "status 503",
        "anytrack_seconds": 1.5,
    }


def test_a_line_about_counted_dead_letters_has_their_number(
    log: Log, clock: Clock, caplog: pytest.LogCaptureFixture
):
    log.dead("1", code="2804003")
    assert vars(caplog.records[0])["anytrack_event_id"] == "1"
    log.dead("2", code="2804003")
    log.dead("3", code="2804003")
    clock.now += 60
    log.flush()

    fields = vars(caplog.records[0])
    assert (fields["anytrack_event"], fields["anytrack_destination"]) == ("DeadLettered", "meta")
    assert (fields["anytrack_count"], fields["anytrack_code"]) == (2, "2804003")


def test_an_observer_that_raises_does_not_disturb_the_others(caplog: pytest.LogCaptureFixture):
    before, after = Recorder(), Recorder()

    Observers([before, Raising(), after]).notify(RESUMED)

    assert before.events == after.events == [RESUMED]
    (message,) = caplog.messages
    assert message.startswith("observer Raising failed with RuntimeError on LaneResumed; delivery")


def test_a_failing_observer_is_logged_once_with_its_traceback(caplog: pytest.LogCaptureFixture):
    observers = Observers([Raising()])
    for _ in range(1000):
        observers.notify(RESUMED)

    assert len(caplog.records) == 1
    assert 'raise RuntimeError(f"failed on {SECRET}")' in caplog.text  # the line of the code
    assert SECRET not in caplog.text

    caplog.clear()
    observers.flush(closing=True)
    assert caplog.messages == [
        "observer Raising failed 1000 times with RuntimeError since the client was opened"
    ]


def test_another_type_of_exception_or_observer_is_logged_too(caplog: pytest.LogCaptureFixture):
    first, second = Failing(), Failing()
    observers = Observers([first, second])
    for error in (KeyError("a"), ValueError("b"), KeyError("c")):
        first.error = second.error = error
        observers.notify(RESUMED)

    assert len(caplog.records) == 4


def test_kinds_of_failures_are_bounded(caplog: pytest.LogCaptureFixture):
    failing = Failing()
    observers = Observers([failing])
    for number in range(200):
        failing.error = type(f"Error{number}", (Exception,), {})()
        observers.notify(RESUMED)

    assert len(caplog.records) == 100


def test_a_failing_log_handler_stops_nothing(monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    log = LoggingObserver()
    observers = Observers([log, Raising()])
    monkeypatch.setattr(logging.getLogger("anytrack_async"), "error", fail)
    monkeypatch.setattr(logging.getLogger("anytrack_async"), "log", fail)

    for _ in range(2):
        observers.notify(DeadLettered(destination="meta", event_id="e", reason="too old"))
    observers.flush(closing=True)


def test_keyboard_interrupt_is_not_swallowed():
    class Ending:
        def notify(self, event: Event, /) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Observers([Ending()]).notify(RESUMED)


def test_a_foreign_event_does_not_disturb_the_others(caplog: pytest.LogCaptureFixture):
    later = Recorder()

    Observers([LoggingObserver(), later]).notify("not an event")  # type: ignore[arg-type]

    assert later.events == ["not an event"]
    assert "observer LoggingObserver failed" in caplog.text


class AsyncObserver:
    async def notify(self, event: Event, /) -> None: ...


@pytest.mark.parametrize("observer", [AsyncObserver(), print, None, object()])
def test_an_observer_without_a_sync_notify_is_refused(observer: Any):
    with pytest.raises(ConfigurationError, match=r"needs a notify\(event\) that is not async"):
        Observers([observer])
