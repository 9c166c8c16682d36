"""`MetaSink`: conversions to Meta's Conversions API.

Source: Meta: Conversions API, using the API.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import anyio.lowlevel
import orjson

from anytrack_async.errors import TransportError
from anytrack_async.events import Event, LoggingObserver, Weakened
from anytrack_async.models import Conversion, Outcome
from anytrack_async.settings import MetaSettings
from anytrack_async.sinks.base import BatchRejected, SinkLimits, SinkSignal, Throttled, Unavailable
from anytrack_async.sinks.meta.body import Place, in_pieces, request_body, request_tail
from anytrack_async.sinks.meta.event import to_event
from anytrack_async.sinks.meta.preflight import find_fault, find_weakness
from anytrack_async.sinks.meta.reading import check_reading
from anytrack_async.sinks.meta.replies import settle
from anytrack_async.sinks.meta.usage import Pace
from anytrack_async.transport import Answer, Session, Transport

_SLICE = 64  # events mapped between two checkpoints: about a millisecond


class MetaSink:
    """Sends conversions to one pixel or dataset, up to 1,000 in a request.

    What Meta would refuse a whole request for is found before sending and rejects that conversion
    alone. What only weakens an event is sent, and told once of each kind as a `Weakened` event to
    `notify`: the client's observers, or the log ``anytrack_async`` without a client. Meta drops
    repeats of an event id and name within 48 hours.

    Args:
        settings: where, with which token, and how events look.
        name: the destination's name; give each pixel its own.
        transport: takes the place of the connection pool, for tests.

    Raises:
        ConfigurationError: the settings ask for the ``[normalise]`` extra, which is missing.
    """

    def __init__(
        self, settings: MetaSettings, *, name: str = "meta", transport: Transport | None = None
    ) -> None:
        check_reading(settings)
        self.name = name
        self.limits = SinkLimits(batch=settings.batch, concurrency=settings.concurrency)
        self._settings = settings
        self._session = Session(
            name, settings.base_url, headers={}, http=settings.http, transport=transport
        )
        self.notify: Callable[[Event], None] = LoggingObserver().notify
        self._pace = Pace()
        self._throttled = 0
        self._warned: set[str] = set()
        self.use_token(settings.access_token)

    def use_token(self, token: str) -> None:
        """Use *token* from the next request on.

        Raises:
            ConfigurationError: it cannot be a token.
        """
        self._session.authorize(token)
        self._tail = request_tail(self._settings, token)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._session.aclose()

    async def deliver(self, batch: Sequence[Conversion], /) -> Sequence[Outcome]:
        """Send *batch*; one outcome per conversion, in its order. Safe to repeat.

        Raises:
            Throttled: Meta asks to wait.
            BatchRejected: one event spoils a request, and Meta does not say which.
            CredentialsRejected: token, permission, account or pixel.
            Unavailable: no answer, or none of Meta's.
        """
        outcomes: list[Outcome | None] = [None] * len(batch)
        events = await self._encode(batch, outcomes)
        for piece in in_pieces(events, self._settings.max_bytes):
            try:
                settled = await self._send(piece)
            except BatchRejected:  # about all: the halves of the batch are sent again
                raise
            except SinkSignal as signal:
                signal.outcomes = outcomes if any(outcomes) else ()
                raise
            for place, _ in piece:
                outcomes[place] = settled
        return [outcome for outcome in outcomes if outcome is not None]

    async def _encode(
        self, batch: Sequence[Conversion], outcomes: list[Outcome | None]
    ) -> list[Place]:
        events: list[Place] = []
        now = time.time()
        for place, conversion in enumerate(batch, start=1):
            event = self._event(conversion, now)
            if isinstance(event, bytes):
                events.append((place - 1, event))
            else:
                outcomes[place - 1] = event
            if place % _SLICE == 0:
                await anyio.lowlevel.checkpoint()
        return events

    def _event(self, conversion: Conversion, now: float) -> bytes | Outcome:
        try:
            event = to_event(conversion, self._settings, now=now)
            if fault := find_fault(event, now):
                return Outcome.rejected(fault.reason, code=fault.code)
            # Copied, as what orjson returns keeps several times the memory it needs.
            encoded = bytes(memoryview(orjson.dumps(event)))
        except Exception as exc:  # of `MetaSettings.event_name`; its text may quote a customer
            return Outcome.rejected(f"could not be made an event: {type(exc).__name__}")
        self._warn(find_weakness(event))
        return encoded

    def _warn(self, weakness: str | None) -> None:
        if weakness is not None and weakness not in self._warned:
            self._warned.add(weakness)
            self.notify(Weakened(destination=self.name, reason=weakness))

    async def _send(self, piece: Sequence[Place]) -> Outcome:
        await self._pace.turn()
        path = (self._settings.api_version, self._settings.pixel_id, "events")
        body = request_body(piece, self._tail)
        try:
            answer = await self._session.send("POST", *path, content=body)
        except TransportError as exc:
            raise Unavailable(str(exc)) from exc
        return self._settle(answer, len(piece))

    def _settle(self, answer: Answer, sent: int) -> Outcome:
        try:
            outcome = settle(answer, sent, throttled=self._throttled)
        except Throttled:
            self._throttled += 1
            raise
        self._throttled = 0
        self._pace.note(answer.headers)
        return outcome
