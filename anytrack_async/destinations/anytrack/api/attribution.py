"""`Attributions`: how a conversion came about."""

from __future__ import annotations

from collections.abc import Mapping

from anytrack_async.destinations.anytrack.api.base import Endpoint, identifier
from anytrack_async.destinations.anytrack.records import read_attribution, read_touchpoint
from anytrack_async.models.answers import Attribution, Touchpoint


class Attributions(Endpoint):
    """`/conversions/{id}/…`: a conversion's journey, and who gets how much of the credit."""

    async def calculate(self, conversion_id: str) -> Attribution:
        """Return the attribution model of a conversion and the weight of each touchpoint.

        Raises:
            NotFoundError: AnyTrack has no such conversion.
            ServiceError: the subclass that fits, after the last retry.
            DecodeError: the response cannot be read.

        Source: AnyTrack REST, ``GET /conversions/{id}/attribution``.
        """
        conversion_id = identifier("conversion_id", conversion_id)
        body = await self._session.get("conversions", conversion_id, "attribution")
        inner = body.get("data") if isinstance(body, Mapping) else None
        return read_attribution(inner if isinstance(inner, Mapping) else body)

    async def touchpoints(self, conversion_id: str) -> list[Touchpoint]:
        """Return the contacts that led to a conversion, earliest first.

        A record that cannot be read is logged and left out.

        Raises:
            NotFoundError: AnyTrack has no such conversion.
            ServiceError: the subclass that fits, after the last retry.
            DecodeError: the response cannot be read.

        Source: AnyTrack REST, ``GET /conversions/{id}/touchpoints``.
        """
        conversion_id = identifier("conversion_id", conversion_id)
        path = ("conversions", conversion_id, "touchpoints")
        found = await self._list(*path, read=read_touchpoint)
        return sorted(found, key=lambda touchpoint: touchpoint.timestamp)
