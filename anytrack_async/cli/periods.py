"""The options of commands that read from AnyTrack: the period, filters, and the client for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, TypeAlias

import typer

from anytrack_async.cli.selection import option, seconds_of
from anytrack_async.client.client import AnyTrackClient
from anytrack_async.client.locations import MEMORY
from anytrack_async.errors import ConfigurationError

DATE_OR_AGE = "DATE|TIME|30d"

From: TypeAlias = Annotated[
    str | None,
    option("First day or moment, or an age; default: 30 days ago.", "--from", metavar=DATE_OR_AGE),
]
To: TypeAlias = Annotated[
    str | None, option("Last day or moment, included; default: now.", "--to", metavar=DATE_OR_AGE)
]
Source: TypeAlias = Annotated[
    str | None, option("Only conversions from this source.", metavar="NAME")
]
Campaign: TypeAlias = Annotated[
    str | None, option("Only conversions of this campaign.", "--campaign", metavar="ID")
]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")]

Moment: TypeAlias = date | datetime

_DEFAULT = timedelta(days=30)


def to_range(first: str | None, last: str | None) -> tuple[Moment, Moment]:
    """Return the period of ``--from`` and ``--to``; a date is a whole UTC day.

    Raises:
        ConfigurationError: one of them cannot be read.
    """
    now = datetime.now(UTC)
    return (
        now - _DEFAULT if first is None else parse_moment(first, "--from", now),
        now if last is None else parse_moment(last, "--to", now),
    )


def parse_moment(value: str, option_: str, now: datetime) -> Moment:
    """Return the date or time in *value*, or the moment of an age; a time without zone is in UTC.

    Raises:
        ConfigurationError: *value* is neither; the message names the option.
    """
    if (seconds := seconds_of(value)) is not None:
        return now - timedelta(seconds=seconds)
    text = value.strip()
    try:
        if len(text) == len("2026-01-31"):
            return date.fromisoformat(text)
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(
            f"{option_} needs a day such as 2026-01-31, a time such as 2026-01-31T12:00:00+01:00, "
            "or an age such as 30d or 12h"
        ) from None
    return moment.replace(tzinfo=moment.tzinfo or UTC)


@asynccontextmanager
async def reading_client() -> AsyncIterator[AnyTrackClient]:
    """Open a client that only reads: its outbox is in memory, and it has no destination to serve.

    Raises:
        ConfigurationError: the environment has no credentials for AnyTrack.
    """
    async with AnyTrackClient.from_env(outbox=MEMORY) as client:
        yield client
