"""`Answer`: what a service said, read to its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from anytrack_async.errors import DecodeError
from anytrack_async.transport.hints import retry_after


class Answer(NamedTuple):
    """What a service said; its `repr` shows neither headers nor bodies.

    Attributes:
        status: HTTP status.
        headers: names in any case.
        content: the body.
        service: who said it.
        sent: the body of the request, so that what is quoted of it can be hidden.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes
    service: str = ""
    sent: bytes = b""

    def __repr__(self) -> str:
        return f"<Answer: {self.status} from {self.service}>"

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
            body = orjson.loads(self.content)
        except orjson.JSONDecodeError:
            return {}
        return body if isinstance(body, dict) else {}
