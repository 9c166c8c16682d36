"""`Endpoint`: one part of the API, and what all parts share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

import anyio.to_thread

from anytrack_async.destinations.anytrack.records import read_list
from anytrack_async.errors import DecodeError, InvalidArgumentError, InvalidConversionError
from anytrack_async.models.validators import utc
from anytrack_async.transport.session import Session

_T = TypeVar("_T")
_MANY = 50  # records that are read on the loop: some milliseconds


class Endpoint:
    """One part of the API.

    Args:
        session: with AnyTrack; whoever made it closes it.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    async def _list(
        self, *path: str, params: Mapping[str, str] | None = None, read: Callable[[Any], _T]
    ) -> list[_T]:
        records = unwrap(await self._session.get(*path, params=params))
        if not isinstance(records, list) or len(records) <= _MANY:
            return read_list(records, read)
        return await anyio.to_thread.run_sync(read_list, records, read, abandon_on_cancel=True)


def unwrap(body: object) -> Any:
    """Return what is under ``"data"`` in *body*.

    Raises:
        DecodeError: there is no such thing.
    """
    if not isinstance(body, Mapping) or "data" not in body:
        raise DecodeError("anytrack: the response has no 'data'")
    return body["data"]


def given(name: str, value: Any) -> str:
    """Return *value*, the argument called *name*.

    Raises:
        InvalidArgumentError: it is not text, or empty.
    """
    if value is not None and not isinstance(value, str):
        raise InvalidArgumentError(name, f"must be text, got {type(value).__name__}")
    if not value or not value.strip():
        raise InvalidArgumentError(name, "must not be empty")
    return str(value)


def identifier(name: str, value: Any) -> str:
    """Return *value*, the argument called *name*, which becomes part of a path.

    Raises:
        InvalidArgumentError: it cannot be an id.
    """
    if value in (".", ".."):
        raise InvalidArgumentError(name, "must not be dots only")
    return given(name, value)


def at_least_one(name: str, value: Any) -> int:
    """Return *value*, the argument called *name*.

    Raises:
        InvalidArgumentError: it is no whole number of at least 1.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InvalidArgumentError(name, "must be a whole number of at least 1")
    return int(value)


def utc_argument(name: str, value: datetime) -> datetime:
    """Return *value*, the argument called *name*, in UTC.

    Raises:
        InvalidArgumentError: it has no time zone, or is outside the years 1 to 9999 in UTC.
    """
    try:
        return utc(name, value)
    except InvalidConversionError as exc:  # the models' check, which speaks of a model's field
        raise InvalidArgumentError(name, exc.problem) from None
