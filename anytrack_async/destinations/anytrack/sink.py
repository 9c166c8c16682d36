"""`AnyTrackSink`: conversions to AnyTrack, one request each, many in flight."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from math import inf
from typing import ClassVar, Self

import anyio

from anytrack_async.destinations.anytrack.batch import BatchSender, RequestSlots
from anytrack_async.destinations.anytrack.settings import AnyTrackSettings, anytrack_session
from anytrack_async.destinations.sink import Finding, SinkLimits
from anytrack_async.errors import DecodeError, ServiceError
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.outcome import Outcome
from anytrack_async.transport.message import Transport

_REQUESTS_PER_CONNECTION = 8  # in a full batch
_MAX_SENDING_TIME = 30.0  # seconds in which requests may be started
_USABLE_SHARE = 0.95  # of a batch's time: cut off from outside, its outcomes would be lost


class AnyTrackSink:
    """Sends conversions to AnyTrack.

    Each goes with ``Idempotency-Key: <event_id>``. AnyTrack does not document whether it honours
    that, so expect *at least once*: after a lost response a conversion is sent again.

    Args:
        settings: address and credentials.
        transport: instead of the connection pool; closed with the sink.
        batch_timeout: seconds that one `deliver` call may take. A request is started only if its
            timeout still fits in, unless the timeout is longer than this.

    Source: AnyTrack REST, ``POST /conversions``.
    """

    variables: ClassVar[Sequence[str]] = tuple(AnyTrackSettings.VARIABLES.values())

    def __init__(
        self,
        settings: AnyTrackSettings,
        *,
        transport: Transport | None = None,
        batch_timeout: float = inf,
    ) -> None:
        http = settings.http
        self._session = anytrack_session(settings, transport=transport, limited=False)
        self._slots = RequestSlots(http.connections)
        self._sending_time, self._total_time = _batch_times(
            http.timeout, batch_timeout * _USABLE_SHARE
        )
        request_time = http.required_seconds()
        self._limits = SinkLimits(
            batch=_REQUESTS_PER_CONNECTION * http.connections,
            # Two batches: one uses the connections that become idle while the other ends.
            concurrency=min(2, http.connections),
            required_seconds=request_time and request_time / _USABLE_SHARE,
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
        """Eight conversions per connection in a batch, two batches at once."""
        return self._limits

    async def deliver(self, batch: Sequence[Conversion], /) -> Sequence[Outcome]:
        """Send *batch*, as many conversions at once as there are connections.

        Raises:
            NeedsOperator: 401 or 403; the conversions without an outcome were not sent.
            Throttled: 429; the conversions without an outcome were not sent.
            Unfinished: AnyTrack is so slow that some conversions were not sent.
            Unavailable: no conversion was accepted or rejected.
        """
        sender = BatchSender(self._session, self._slots, batch, seconds=self._sending_time)
        with anyio.move_on_after(self._total_time) as timeout:
            await sender.run()
        return sender.result(in_time=not timeout.cancelled_caught)

    async def check(self, *, currencies: Iterable[str] = ()) -> list[Finding]:
        """Check the credentials by reading today's report; nothing is written.

        Args:
            currencies: ignored, because AnyTrack accepts every currency.
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
            ConfigurationError: the token cannot be sent in a header.
        """
        self._session.authorize(token)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._session.aclose()


def _batch_times(timeout: float, available: float) -> tuple[float, float]:
    """Return for how long a batch may start requests, and when it ends; seconds.

    A request that is started last still gets its whole *timeout*, if *available* is long enough.
    By default, 30 s and 91 s: requests are started for 30 s, and the batch ends after 60 s. With a
    timeout of 30 s and 22.8 s available: for 11.4 s, and the batch ends after 22.8 s.
    """
    spare = available - timeout if timeout <= available < inf else available / 2
    sending_time = min(timeout, _MAX_SENDING_TIME, spare)
    return sending_time, min(sending_time + timeout, available)
