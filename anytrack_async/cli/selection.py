"""Options of several commands: the selection of dead letters, ages, ``NAME=VALUE`` settings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, TypeAlias

import attrs
import typer

from anytrack_async.errors import ConfigurationError
from anytrack_async.models.outcome import Report, Status
from anytrack_async.outbox.base import Outbox
from anytrack_async.outbox.dead_letters import ALL, DeadLetterFilter

# Ages and times

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 7 * 86_400.0}
_LONGEST = 100 * 365 * 86_400.0  # seconds
_AGE = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)([smhdw])")


def seconds_of(value: str) -> float | None:
    """Return the seconds of an age such as ``30d``, ``12h`` or ``90m``; None for anything else.

    A longer age than 100 years counts as 100 years: there may be no date that long ago.
    """
    match = _AGE.fullmatch(value.strip().lower())
    return min(float(match[1]) * _SECONDS[match[2]], _LONGEST) if match else None


def parse_age(value: str | None, argument: str) -> dict[str, float]:
    """Return ``{argument: seconds}`` if *value* is an age, else an empty dict."""
    seconds = None if value is None else seconds_of(value)
    return {} if seconds is None else {argument: seconds}


def parse_date(value: str | None, argument: str, option: str) -> dict[str, float]:
    """Return ``{argument: unix seconds}`` if *value* is a time, and an empty dict for an age.

    A time without a time zone is in UTC.

    Raises:
        ConfigurationError: *value* is neither; the message names *option*.
    """
    if value is None or seconds_of(value) is not None:
        return {}
    try:
        moment = datetime.fromisoformat(value.strip())
        return {argument: moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()}
    except (ValueError, OverflowError):
        raise ConfigurationError(
            f"{option} needs an age such as 30d, 12h or 90m, or a time such as 2026-01-31 or "
            "2026-01-31T12:00:00+01:00"
        ) from None


def required_seconds(value: str, option: str) -> float:
    """Return the seconds of an age.

    Raises:
        ConfigurationError: *value* is no age; the message names *option*.
    """
    seconds = seconds_of(value)
    if seconds is None:
        raise ConfigurationError(f"{option} needs an age such as 30d, 12h or 90m")
    return seconds


# Selections


def option(help_: str, *names: str, metavar: str | None = None) -> Any:
    """Return an option without a default in its help."""
    return typer.Option(*names, help=help_, metavar=metavar, show_default=False)


AGE_OR_TIME = "30d|12h|TIME"
Targets: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(
        help="A destination, then event ids.",
        metavar="DESTINATION|EVENT_ID",
        show_default=False,
    ),
]
Destination: TypeAlias = Annotated[
    str | None, option("Only of this destination.", "--destination", metavar="NAME")
]
Code: TypeAlias = Annotated[str | None, option("Only with this error code.", metavar="CODE")]
ReasonText: TypeAlias = Annotated[
    str | None, option("Only if the reason contains this text.", metavar="WORDS")
]
OlderThan: TypeAlias = Annotated[
    str | None,
    option("Only those that are dead for longer, or since before this time.", metavar=AGE_OR_TIME),
]
NewerThan: TypeAlias = Annotated[
    str | None,
    option(
        "Only those that are dead for less long, or since after this time.", metavar=AGE_OR_TIME
    ),
]
All: TypeAlias = Annotated[bool, option("All dead letters of all destinations.", "--all")]
Json: TypeAlias = Annotated[bool, option("Write JSON, one object a line.", "--json")]
OutboxOption: TypeAlias = Annotated[
    str | None, option("Path, or postgresql://…; default: ANYTRACK_OUTBOX.", "--outbox")
]


@attrs.frozen
class Selection:
    """The dead letters that a command is about.

    Attributes:
        targets: the positional arguments: perhaps a destination, then event ids.
        destination: the value of ``--destination``.
        where: the other options.
        event_ids: the event ids in *targets*, once `resolve` has looked at them.
    """

    targets: Sequence[str]
    destination: str | None
    where: DeadLetterFilter
    event_ids: Sequence[str] | None = None

    @property
    def is_everything(self) -> bool:
        """Whether the command line has no condition, so that all dead letters are selected."""
        return not self.targets and self.destination is None and self.where == ALL

    async def resolve(self, outbox: Outbox) -> Selection:
        """Find out whether the first argument is a destination or an event id.

        Raises:
            ConfigurationError: the outbox has no such destination, or no such dead letter.
        """
        names = await outbox.destinations()
        destination, event_ids = self.destination, list(self.targets)
        if destination is None and event_ids and event_ids[0] in names:
            destination = event_ids.pop(0)
        if destination is not None:
            await check_destination(outbox, destination)
        if event_ids:
            await check_dead(outbox, destination, event_ids)
        return attrs.evolve(self, destination=destination, event_ids=event_ids or None)


def select(
    targets: list[str] | None,
    destination: str | None,
    code: str | None,
    text: str | None,
    older_than: str | None,
    newer_than: str | None,
) -> Selection:
    """Return the selection that a command's options describe.

    Raises:
        ConfigurationError: an age or a time cannot be read.
    """
    where = DeadLetterFilter(
        code=code,
        text=text,
        **parse_age(older_than, "min_age"),
        **parse_age(newer_than, "max_age"),
        **parse_date(older_than, "died_before", "--older-than"),
        **parse_date(newer_than, "died_after", "--newer-than"),
    )
    return Selection(targets or (), destination, where)


async def check_destination(outbox: Outbox, destination: str) -> None:
    """Raise `ConfigurationError` unless the outbox has *destination*, and name those it has."""
    names = await outbox.destinations()
    if destination not in names:
        raise ConfigurationError(
            f"the outbox has no destination {destination!r}; it has: {', '.join(names) or 'none'}"
        )


async def check_dead(outbox: Outbox, destination: str | None, event_ids: Sequence[str]) -> None:
    """Raise `ConfigurationError`, naming them, if some of *event_ids* are no dead letters."""
    reports = await outbox.reports(event_ids)
    wrong = [
        description
        for event_id in event_ids
        if (description := _not_dead(event_id, destination, reports.get(event_id)))
    ]
    if wrong:
        names = ", ".join(await outbox.destinations()) or "none"
        raise ConfigurationError(
            f"nothing was changed: {'; '.join(wrong)} (destinations of this outbox: {names})"
        )


def unknown_event_id(event_id: str) -> str:
    """Return the message about an event id that the outbox does not know."""
    hint = "" if ":" in event_id else f"; a sale with this order id has 'sale:{event_id}'"
    return f"no conversion in the outbox has the event id {event_id!r}{hint}"


def _not_dead(event_id: str, destination: str | None, report: Report | None) -> str:
    """Return why *event_id* has no dead letter; empty if it has one."""
    if report is None:
        return unknown_event_id(event_id)
    outcomes = report.outcomes.values()
    if any(
        outcome.status is Status.DEAD and destination in (None, outcome.destination)
        for outcome in outcomes
    ):
        return ""
    states = ", ".join(f"{outcome.destination}: {outcome.status}" for outcome in outcomes)
    return f"{event_id!r} is no dead letter{f' of {destination}' if destination else ''} ({states})"


# Settings

_MAPPINGS = ("customer", "custom_data", "sub_ids", "clicks", "consent")


def set_fields(record: dict[str, Any], settings: Iterable[str]) -> None:
    """Set fields of *record*, or entries of a field such as ``customer.phone=…``.

    Raises:
        ConfigurationError: a setting is not of the form ``NAME=VALUE``.
    """
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not name or not equals:
            raise ConfigurationError("--set needs NAME=VALUE, e.g. --set source=newsletter")
        _set_field(record, name, value)


def _set_field(record: dict[str, Any], name: str, value: str) -> None:
    field, _, entry = name.partition(".")
    if field in _MAPPINGS:
        if not entry:
            raise ConfigurationError(f"--set {field} needs an entry: {field}.NAME=VALUE")
        record.setdefault(field, {})[entry] = value
    else:
        record[name] = value
