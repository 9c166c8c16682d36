"""`AnyTrackSink`: conversions to AnyTrack, one request each, many in flight."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from math import inf
from string import ascii_letters, digits, punctuation
from typing import Any
from urllib.parse import quote

import anyio
import orjson

from anytrack_async.errors import TransportError
from anytrack_async.models import Conversion, Outcome, Status
from anytrack_async.settings import AnyTrackSettings
from anytrack_async.sinks.base import (
    CredentialsRejected,
    SinkLimits,
    SinkSignal,
    Throttled,
    Unavailable,
)
from anytrack_async.transport import Answer, Session, Transport, anytrack_session, read_fault

_OPTIONAL = ("source", "campaign_id", "ad_id", "sub_ids", "ip_address", "user_agent", "page_url")
_REFUSED = frozenset({400, 404, 409, 413, 422})
_PAUSE = 1.0  # seconds, when a 429 does not say
_ROUNDS = 4  # requests a worker makes of a full batch
_DISCOURAGED = 8  # failures of a batch without a single success that end it
_PATIENCE = 2  # time-outs that a batch may take
_UNSENT = Outcome.retry("not sent, because the rest of its batch took too long", after=0.0)
_LOST = Outcome.retry("no answer before its batch took too long")
_PLAIN = ascii_letters + digits + punctuation.replace("%", "") + " "


def to_wire(conversion: Conversion) -> dict[str, Any]:
    """Return *conversion* as AnyTrack takes it.

    Nothing about the customer goes along but what AnyTrack has fields for. The event id travels in
    ``custom_data``, and so does the name of a custom event.

    Source: AnyTrack REST, ``POST /conversions``.
    """
    custom_data = {**conversion.custom_data, "event_id": conversion.event_id}
    if conversion.event_name is not None:
        custom_data["event_name"] = conversion.event_name
    wire = {
        "click_id": conversion.click_id,
        "conversion_type": conversion.conversion_type.value,
        "revenue": _number(conversion.revenue),
        "currency": conversion.currency,
        "timestamp": conversion.timestamp.isoformat(),
        "order_id": conversion.order_id,
        "custom_data": custom_data,
    }
    wire |= {name: getattr(conversion, name) or None for name in _OPTIONAL}
    return {name: value for name, value in wire.items() if value is not None}


def _number(amount: Decimal) -> int | float:
    whole = int(amount)
    return whole if whole == amount else float(amount)


class AnyTrackSink:
    """Sends conversions to AnyTrack.

    Each goes with ``Idempotency-Key: <event_id>``. Whether AnyTrack honours it is not known, so
    count on *at least once*: after a lost answer a conversion is sent again.

    Args:
        settings: where AnyTrack is and how to sign in.
        transport: instead of the connection pool; closed with the sink.

    Source: AnyTrack REST, ``POST /conversions``.
    """

    def __init__(self, settings: AnyTrackSettings, *, transport: Transport | None = None) -> None:
        http = settings.http
        self._session = anytrack_session(settings, transport=transport)
        self._workers = http.connections
        self._patience = _PATIENCE * http.timeout
        # Two batches at once: one uses the connections that the end of the other leaves idle.
        self._limits = SinkLimits(batch=_ROUNDS * http.connections, concurrency=2)

    @property
    def name(self) -> str:
        """``"anytrack"``."""
        return "anytrack"

    @property
    def limits(self) -> SinkLimits:
        """A few requests per connection in a batch, two batches at once."""
        return self._limits

    async def deliver(self, batch: Sequence[Conversion], /) -> Sequence[Outcome]:
        """Send *batch*, as many at once as there are connections.

        Raises:
            CredentialsRejected: 401 or 403; what is left of the batch was not sent.
            Throttled: 429; what is left of the batch was not sent.
            Unavailable: nothing of the batch was taken or refused.
        """
        shift = _Shift(self._session, batch)
        with anyio.move_on_after(self._patience) as patience:
            await _work(shift, min(self._workers, len(batch)))
        return shift.result(in_time=not patience.cancelled_caught)

    def use_token(self, token: str) -> None:
        """Use *token* as API key from now on.

        Raises:
            ConfigurationError: it cannot be one.
        """
        self._session.authorize(token)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._session.aclose()


async def _work(shift: _Shift, workers: int) -> None:
    if workers == 1:
        await shift.work()
        return
    async with anyio.create_task_group() as tasks:
        for _ in range(workers):
            tasks.start_soon(shift.work)


class _Shift:
    """One batch, and what the workers that share it found out."""

    def __init__(self, session: Session, batch: Sequence[Conversion]) -> None:
        self._session = session
        self._rest: Iterator[tuple[int, Conversion]] = iter(enumerate(batch))
        self._outcomes: list[Outcome | None] = [None] * len(batch)
        self._signal: SinkSignal | None = None
        self._failure: Outcome | None = None
        self._failures = 0
        self._settled = 0

    async def work(self) -> None:
        """Send one after the other until the batch, or the hope, is at its end."""
        for at, conversion in self._rest:
            self._outcomes[at] = _LOST
            self._outcomes[at] = outcome = await self._send(conversion)
            self._count(outcome)
            if self._signal or self._hopeless:
                return

    @property
    def _hopeless(self) -> bool:
        return not self._settled and self._failures >= _DISCOURAGED

    def result(self, *, in_time: bool) -> Sequence[Outcome]:
        """Return the outcomes, or raise what concerns the batch."""
        if self._signal:
            self._signal.outcomes = tuple(self._outcomes)
            raise self._signal
        failure = self._failure if in_time else self._failure or _LOST
        if failure and not self._settled:
            raise Unavailable(failure.error or "", code=failure.code)
        return [outcome or _UNSENT for outcome in self._outcomes]

    def _count(self, outcome: Outcome | None) -> None:
        if outcome is not None and outcome.status is Status.RETRY:
            self._failure = outcome
            self._failures += 1
        elif outcome is not None:
            self._settled += 1

    async def _send(self, conversion: Conversion) -> Outcome | None:
        try:
            answer = await self._session.send(
                "POST",
                "conversions",
                content=orjson.dumps(to_wire(conversion)),
                headers={"Idempotency-Key": quote(conversion.event_id, safe=_PLAIN)},
            )
        except TransportError as exc:
            return Outcome.retry(str(exc))
        signal = _signal(answer)
        if signal is None:
            return _outcome(answer)
        if self._signal is None or _weight(signal) > _weight(self._signal):
            self._signal = signal
        return None


def _signal(answer: Answer) -> SinkSignal | None:
    if answer.status in (401, 403):
        reason, code = _reason(answer)
        return CredentialsRejected(reason, code=code)
    if answer.status == 429:
        reason, code = _reason(answer)
        wait = answer.retry_after
        return Throttled(reason, code=code, after=_PAUSE if wait is None else wait)
    return None


def _weight(signal: SinkSignal) -> float:
    return signal.after if isinstance(signal, Throttled) else inf


def _outcome(answer: Answer) -> Outcome:
    if answer.success:
        return _confirmed(answer)
    if answer.status == 409 and (remote_id := _remote_id(answer.object())):
        return Outcome.delivered(remote_id)
    reason, code = _reason(answer)
    if answer.status in _REFUSED:
        return Outcome.rejected(reason, code=code)
    return Outcome.retry(reason, code=code, after=answer.retry_after)


def _confirmed(answer: Answer) -> Outcome:
    body = answer.object()
    remote_id = _remote_id(body)
    if body.get("status", "success" if remote_id else None) == "success":
        return Outcome.delivered(remote_id)
    return Outcome.retry(f"answered {answer.status} without confirming the conversion")


def _remote_id(body: Mapping[str, Any]) -> str | None:
    remote_id = body.get("conversion_id")
    return str(remote_id) if isinstance(remote_id, str | int) and remote_id else None


def _reason(answer: Answer) -> tuple[str, str]:
    fault = read_fault(answer)
    return f"{fault.message} (status {answer.status})", fault.code or str(answer.status)
