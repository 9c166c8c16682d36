"""`BatchSender` sends one batch; `RequestSlots` limits the requests of all batches together.

AnyTrack accepts one conversion per request, so workers send a batch: each worker has a slot, takes
the next conversion of the batch, sends it and waits for the response. A worker keeps its slot for
many requests, so a conversion costs neither a task nor a wait in a queue.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import anyio
from anyio.abc import TaskGroup

from anytrack_async.destinations.anytrack.causes import NotAnyTrack, Unexplained
from anytrack_async.destinations.anytrack.payload import REST, RequestFormat, severity
from anytrack_async.destinations.sink import (
    NeedsOperator,
    SinkSignal,
    Unavailable,
    Unfinished,
)
from anytrack_async.errors import TransportError
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.outcome import Outcome, Status
from anytrack_async.transport.message import Response
from anytrack_async.transport.session import Session

_RETRY = Status.RETRY  # looking it up on the class takes a function call
_MAX_SUSPECTS = 1_000  # an event id takes about 100 bytes
_MAX_FAILURES = 8  # without a conclusive outcome in the batch: then AnyTrack looks down
_NOT_SENT = "not sent: other conversions of its batch took too long or failed"
_NO_RESPONSE = Outcome.retry("no response before the time for its batch was used up")


class RequestSlots:
    """Slots for concurrent requests, shared equally by the batches that are being sent.

    Example with 32 slots: a single batch takes all of them. When a second batch joins, the share of
    each becomes 16. The first batch gives up a slot after each request until it has 16 left, and
    the second takes these slots. When either batch leaves, the other may use 32 again.

    Args:
        count: number of slots.

    Attributes:
        share: number of slots that each batch may use now.
    """

    def __init__(self, count: int) -> None:
        self._count = self._free = self.share = count
        self._batches = 0
        self._change: anyio.Event | None = None

    @contextmanager
    def join(self) -> Iterator[None]:
        """Count one more batch for the duration of the ``with`` block."""
        self._add_batches(1)
        try:
            yield
        finally:
            self._add_batches(-1)

    def take(self, used: int) -> bool:
        """Take a slot for a batch that uses *used* slots; return False if it gets none now."""
        # Without the limit by share, a batch would take back each slot as soon as it gave it up,
        # and so start a worker for every request.
        if not self._free or used >= self.share:
            return False
        self._free -= 1
        return True

    def release(self) -> None:
        """Return a slot."""
        self._free += 1
        self._notify()

    async def wait_for_change(self) -> None:
        """Return once a slot is released or the share changes."""
        if self._change is None:
            self._change = anyio.Event()
        await self._change.wait()

    def _add_batches(self, number: int) -> None:
        self._batches += number
        # Rounded up: of 32 slots, three batches may use 11 each.
        self.share = -(-self._count // max(self._batches, 1))
        self._notify()

    def _notify(self) -> None:
        if self._change is not None:
            self._change.set()
            self._change = None


class Refusals:
    """Decides whether a refusal without a cause concerns every conversion, or a single one.

    A wrong base URL concerns every conversion, and the lane has to hold. But a firewall that
    refuses one conversion, for example because of its page's URL, must not stop the others: that
    conversion is retried. One that AnyTrack itself refuses twice, while it accepts others, is
    rejected.
    """

    def __init__(self) -> None:
        self._has_reached_anytrack = False
        self._refused: set[str] = set()
        self._suspects: dict[str, bool] = {}  # event id → whether others were accepted since

    @property
    def concern_all(self) -> bool:
        """Whether AnyTrack never answered, or did not answer two conversions since it did."""
        return not self._has_reached_anytrack or len(self._refused) > 1

    def record_answers(self, outcomes: Iterable[Outcome | None]) -> None:
        """Record the outcomes of a batch of which AnyTrack accepted or rejected a conversion."""
        self._has_reached_anytrack = True
        self._refused.clear()
        if self._suspects and any(map(_is_delivered, outcomes)):
            self._suspects = dict.fromkeys(self._suspects, True)

    def record_refusal(self, event_id: str) -> None:
        """Record a refusal without a cause."""
        if len(self._refused) < 2:  # two are enough
            self._refused.add(event_id)

    def confirms(self, event_id: str) -> bool:
        """Record a refusal by AnyTrack; return whether the conversion is at fault."""
        if self._suspects.pop(event_id, False):
            return True
        self._suspects[event_id] = False
        if len(self._suspects) > _MAX_SUSPECTS:
            del self._suspects[next(iter(self._suspects))]
        return False


def _is_delivered(outcome: Outcome | None) -> bool:
    return outcome is not None and outcome.status is Status.DELIVERED


class BatchSender:
    """Sends one batch, each conversion in a request of its own.

    Args:
        session: the session that sends requests to AnyTrack.
        slots: the slots of all batches.
        batch: conversions to send.
        seconds: time during which requests may be started; `run` then waits for those in flight.
        refusals: the refusals of all batches.
        report_unusual: see `read_outcome`.
        request_format: of each request and its answer; AnyTrack's REST API by default.
    """

    def __init__(
        self,
        session: Session,
        slots: RequestSlots,
        batch: Sequence[Conversion],
        *,
        seconds: float,
        refusals: Refusals | None = None,
        report_unusual: Callable[[Response], None] = lambda _: None,
        request_format: RequestFormat = REST,
    ) -> None:
        self._session = session
        self._format = request_format
        self._slots = slots
        self._refusals = refusals or Refusals()
        self._report_unusual = report_unusual
        self._refusal: NeedsOperator | None = None
        self._pending: Iterator[tuple[int, Conversion]] = iter(enumerate(batch))
        self._outcomes: list[Outcome | None] = [None] * len(batch)
        self._signal: SinkSignal | None = None
        self._last_failure: Outcome | None = None
        self._failures = 0
        self._conclusive = 0  # outcomes that are delivered or rejected
        self._used = 0  # slots
        self._finished = False
        self._deadline = time.monotonic() + seconds

    async def run(self) -> None:
        """Send the batch with as many workers as it gets slots."""
        with self._slots.join():
            if len(self._outcomes) == 1:  # faster without a task group
                if await self._wait_for_slot():
                    await self._work()
                return
            async with anyio.create_task_group() as tasks:
                await self._start_workers(tasks)

    def result(self, *, in_time: bool) -> Sequence[Outcome]:
        """Return the outcomes, or raise the signal that concerns the whole batch.

        Args:
            in_time: whether `run` returned before the batch was cut off.
        """
        if self._conclusive:
            self._refusals.record_answers(self._outcomes)
        if self._signal:
            self._signal.outcomes = tuple(self._outcomes)
            raise self._signal
        failure = self._last_failure if in_time else self._last_failure or _NO_RESPONSE
        if failure and not self._conclusive:
            raise self._failure_signal(failure)
        if next(self._pending, None):
            raise Unfinished(_NOT_SENT, outcomes=tuple(self._outcomes))
        return [outcome or _NO_RESPONSE for outcome in self._outcomes]

    async def _start_workers(self, tasks: TaskGroup) -> None:
        for _ in self._outcomes:
            if not await self._wait_for_slot():
                return
            tasks.start_soon(self._work)

    async def _wait_for_slot(self) -> bool:
        while not self._slots.take(self._used):
            await self._slots.wait_for_change()
            if self._finished or self._out_of_time:
                return False
        self._used += 1
        return True

    @property
    def _out_of_time(self) -> bool:
        return time.monotonic() >= self._deadline

    async def _work(self) -> None:
        """Send conversions until the batch is done or stopped, or uses more than its share."""
        try:
            for index, conversion in self._pending:
                self._outcomes[index] = _NO_RESPONSE  # the outcome if the batch is cut off now
                self._outcomes[index] = outcome = await self._send(conversion)
                if outcome is not None and outcome.status is not _RETRY:
                    self._conclusive += 1
                elif self._looks_down(outcome):
                    break
                if self._signal or time.monotonic() >= self._deadline:
                    break
                if self._used > self._slots.share:
                    return  # the slot goes to another batch; other workers continue this batch
            self._finished = True
        finally:
            self._used -= 1
            self._slots.release()

    async def _send(self, conversion: Conversion) -> Outcome | None:
        form = self._format
        try:
            content = form.encode(conversion)
        except TypeError as exc:
            # Code changed its custom_data afterwards; one such conversion must not fail its batch.
            return Outcome.rejected(
                f"cannot be written as JSON: {type(exc).__name__}; check its custom_data"
            )
        try:
            response = await self._session.send(
                "POST", *form.path, content=content, headers=form.headers(conversion, content)
            )
            return form.read(response, self._report_unusual)
        except TransportError as exc:
            return Outcome.retry(str(exc))
        except NeedsOperator as signal:
            if signal.cause == "configuration":
                return self._record_refusal(conversion, signal)
            self._signal = signal
            return None
        except SinkSignal as signal:
            if self._signal is None or severity(signal) > severity(self._signal):
                self._signal = signal
            return None

    def _record_refusal(self, conversion: Conversion, refusal: NeedsOperator) -> Outcome:
        status = refusal.http_status
        if isinstance(refusal, Unexplained) and self._refusals.confirms(conversion.event_id):
            return Outcome.rejected(refusal.reason, code=refusal.code, http_status=status)
        self._refusals.record_refusal(conversion.event_id)
        if self._refusal is None or not isinstance(refusal, NotAnyTrack):
            self._refusal = refusal
        return Outcome.retry(refusal.reason, code=refusal.code, http_status=status)

    def _failure_signal(self, failure: Outcome) -> SinkSignal:
        refusal = self._refusal
        if refusal and (not isinstance(refusal, NotAnyTrack) or self._refusals.concern_all):
            return NeedsOperator(
                refusal.reason,
                cause=refusal.cause,
                code=refusal.code,
                http_status=refusal.http_status,
            )
        return Unavailable(failure.error or "", code=failure.code, http_status=failure.http_status)

    def _looks_down(self, failure: Outcome | None) -> bool:
        # A batch of 256 must not keep sending to a service that is down: it ends after eight
        # failures without a conclusive outcome, and the lane probes with single conversions.
        if failure is not None:
            self._last_failure = failure
            self._failures += 1
        return not self._conclusive and self._failures >= _MAX_FAILURES
