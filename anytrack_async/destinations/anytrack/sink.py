"""`AnyTrackSink`: conversions to AnyTrack, one request each, many in flight."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from math import inf
from typing import ClassVar, Self

import anyio

from anytrack_async.destinations.anytrack.batch import Shift
from anytrack_async.destinations.anytrack.session import anytrack_session
from anytrack_async.destinations.anytrack.settings import AnyTrackSettings
from anytrack_async.destinations.anytrack.slots import Slots
from anytrack_async.destinations.sink import Finding, SinkLimits
from anytrack_async.errors import DecodeError, ServiceError
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.outcome import Outcome
from anytrack_async.transport.message import Transport

_ROUNDS = 8  # requests a worker makes of a full batch
_SENDING = 30.0  # seconds at most in which requests are started; then the last answers count
_USED = 0.95  # of a batch's time: who ends it from outside knows nothing of what was delivered


class AnyTrackSink:
    """Sends conversions to AnyTrack.

    Each goes with ``Idempotency-Key: <event_id>``. Whether AnyTrack honours it is not known, so
    count on *at least once*: after a lost response a conversion is sent again.

    Args:
        settings: where AnyTrack is and how to sign in.
        transport: instead of the connection pool; closed with the sink.
        within: seconds that a batch has. The last of its requests is started so early that it has
            its time-out, where that is shorter.

    Source: AnyTrack REST, ``POST /conversions``.
    """

    variables: ClassVar[Sequence[str]] = tuple(AnyTrackSettings.VARIABLES.values())

    def __init__(
        self,
        settings: AnyTrackSettings,
        *,
        transport: Transport | None = None,
        within: float = inf,
    ) -> None:
        http = settings.http
        self._session = anytrack_session(settings, transport=transport, limited=False)
        self._slots = Slots(http.connections)
        self._sending, self._patience = _times(http.timeout, within * _USED)
        required = http.required_seconds()
        # Two batches at once: one uses the connections that the end of the other leaves idle.
        self._limits = SinkLimits(
            batch=_ROUNDS * http.connections,
            concurrency=min(2, http.connections),
            required_seconds=required and required / _USED,
        )

    @classmethod
    def from_env(
        cls, environ: Mapping[str, str] | None = None, *, transport: Transport | None = None
    ) -> Self:
        """Return a sink with `AnyTrackSettings.from_env`.

        Raises:
            ConfigurationError: a variable is missing or wrong; the message names it.
        """
        return cls(AnyTrackSettings.from_env(environ), transport=transport)

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
            NeedsOperator: 401 or 403; what is left of the batch was not sent.
            Throttled: 429; what is left of the batch was not sent.
            Unfinished: the service is so slow that some of the batch was not sent.
            Unavailable: nothing of the batch was taken or refused.
        """
        shift = Shift(self._session, self._slots, batch, seconds=self._sending)
        with anyio.move_on_after(self._patience) as patience:
            await shift.run()
        return shift.result(in_time=not patience.cancelled_caught)

    async def check(self, *, currencies: Iterable[str] = ()) -> list[Finding]:
        """Return whether AnyTrack accepts the credentials; reads today's report, writes nothing.

        AnyTrack takes all *currencies*.
        """
        today = datetime.now(UTC).date().isoformat()
        try:
            await self._session.get("reports", "daily", params={"date": today})
        except (ServiceError, DecodeError) as exc:
            return [Finding(name="credentials", ok=False, message=str(exc))]
        return [Finding(name="credentials", ok=True, message="accepted")]

    def use_token(self, token: str) -> None:
        """Use *token* as API key from now on.

        Raises:
            ConfigurationError: it cannot be one.
        """
        self._session.authorize(token)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._session.aclose()


def _times(timeout: float, most: float) -> tuple[float, float]:
    """Return for how long requests are started, and when the batch ends, at *most*; seconds."""
    spare = most - timeout if timeout <= most < inf else most / 2
    sending = min(timeout, _SENDING, spare)
    return sending, min(sending + timeout, most)
