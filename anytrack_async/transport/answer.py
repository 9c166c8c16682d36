"""`Answer`: what a service said, read to its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import orjson

from anytrack_async.errors import DecodeError
from anytrack_async.transport.hints import retry_after


@attrs.frozen(kw_only=True)
class Answer:
    """What a service said.

    Attributes:
        status: HTTP status.
        headers: names in any case.
        content: the body.
        service: who said it.
        sent: the body of the request, so that what is quoted of it can be hidden.
    """

    status: int
    headers: Mapping[str, str] = attrs.field(repr=False)
    content: bytes = attrs.field(repr=False)
    service: str = ""
    sent: bytes = attrs.field(default=b"", repr=False)

    @property
    def success(self) -> bool:
        """Whether the status is a 2xx."""
        return 200 <= self.status < 300

    @property
    def retry_after(self) -> float | None:
        """The seconds the service asks to wait, if it does."""
        return retry_after(self.headers)

    def json(self) -> Any:
        """Return the body as JSON.

        Raises:
            DecodeError: it is not JSON; the message names service and status, never the body.
        """
        try:
            return orjson.loads(self.content)
        except orjson.JSONDecodeError:
            raise DecodeError(
                f"{self.service}: the answer (status {self.status}, {len(self.content)} bytes) "
                "is not JSON"
            ) from None

    def object(self) -> Mapping[str, Any]:
        """Return the body as a JSON object; an empty one if it is anything else."""
        try:
            body = self.json()
        except DecodeError:
            return {}
        return body if isinstance(body, Mapping) else {}
