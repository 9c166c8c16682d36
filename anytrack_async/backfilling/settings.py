"""`BackfillSettings`: how a file is read and what happens to its rows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import attrs

from anytrack_async.descriptions import shown
from anytrack_async.errors import ConfigurationError
from anytrack_async.models.validators import currency_code
from anytrack_async.settings.fields import flag, one_of, positive, positive_integer, text, texts

_optional = attrs.validators.optional

DECIMALS = (",", ".")


def to_zone(name: str) -> tzinfo:
    """Return the time zone *name*: ``"Europe/Berlin"``, ``"UTC"``, ``"+02:00"`` or ``"-0300"``.

    Raises:
        ConfigurationError: there is no such zone.
    """
    if name in ("UTC", "Z"):
        return UTC
    if name[:1] in ("+", "-"):
        digits = name[1:].replace(":", "")
        if len(digits) == 4 and digits.isdecimal() and int(digits[2:]) < 60:
            offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
            if offset < timedelta(hours=24):
                return timezone(-offset if name[0] == "-" else offset)
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):  # OSError: the name of a folder, such as "Europe"
        raise ConfigurationError(
            f"timezone must be a name such as 'Europe/Berlin' or an offset such as '+02:00', got "
            f"{shown(name)}"
        ) from None


def _timezone(_: object, field: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, str):
        raise ConfigurationError(f"{field.name} must be text, got {type(value).__name__}")
    to_zone(value)


def _aware(_: object, field: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise ConfigurationError(f"{field.name} must be a datetime with a time zone")


def _currency(value: str | None) -> str | None:
    return None if value is None else currency_code(value)


def _texts(value: Sequence[str] | str) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    try:
        return tuple(value)
    except TypeError:
        return value  # type: ignore[return-value]  # its validator names the setting


@attrs.frozen(kw_only=True)
class BackfillSettings:
    """How a file is read and what happens to its rows.

    Attributes:
        timezone: zone of times that state none: ``"Europe/Berlin"`` or ``"+02:00"``. Without it,
            such rows are rejected, unless the preset knows the zone.
        decimal: the decimal sign of amounts, ``","`` or ``"."``. Without it, an amount such as
            ``1,234`` is rejected, unless the preset knows the sign.
        currency: ISO 4217 code of amounts that state none.
        amount: which amount of several to send: ``gross``, ``net``, ``revenue``, ``payout`` or
            another choice of the preset; default: the preset's.
        delimiter: separates the cells of a text file; default: found in the file.
        encoding: of a text file, e.g. ``"cp1252"``; default: found in the file.
        since: earliest time of a conversion, aware; rows before it are skipped.
        until: latest time of a conversion, aware; rows from it on are skipped.
        day_first: whether 05/06/2026 is the 5th of June. Without it, such a date is rejected,
            unless the preset knows the order.
        timestamp: time of the conversions for which the file states none, aware. Without it, such
            rows are rejected.
        contacts: path of HubSpot's export of contacts, from which deals get e-mail addresses.
        limit: number of rows to read.
        refunds: what happens to refunds and cancellations: ``"skip"`` counts them, ``"custom"``
            sends an event ``Refund`` with the id ``custom:Refund:<order_id>``. A refund that is a
            row with a negative amount has time and amount appended to that id, because an order may
            be refunded in parts.
        duplicates: what happens to a row with an event id that was accepted before: ``"skip"``
            counts it, ``"fail"`` rejects it.
        too_old: what happens at a destination that takes no conversion of that age: ``"skip"``
            addresses it to the other destinations only, ``"dead"`` sends it anyway, which makes
            it a dead letter.
        to: destinations; default: all of the client.
        dry_run: read and count everything; send and write nothing.
        resume: continue at the checkpoint of an earlier run over the same content.
        rejects: path of the file for rejected rows; None writes none.
        max_rejects: stop after so many rejected rows.
        rate: conversions to accept per second; None for no limit.
        only_first: only the first row of each customer, by the customer's id or e-mail address.
        test: also rows that the file marks as made in a test mode.
        won: names or ids of the deal stages that count as won; default: the preset's.
        wait: wait until the destinations have all conversions of the outbox; otherwise the run ends
            once everything is accepted.
        advice: how messages name these settings: ``"python"`` as arguments, ``"command"`` as
            options of ``anytrack backfill``.

    Raises:
        ConfigurationError: a value is not valid; the message names it.
    """

    timezone: str | None = attrs.field(default=None, validator=_optional(_timezone))
    decimal: str | None = attrs.field(default=None, validator=_optional(one_of(*DECIMALS)))
    currency: str | None = attrs.field(default=None, converter=_currency)
    amount: str | None = attrs.field(default=None, validator=_optional(text))
    delimiter: str | None = attrs.field(default=None, validator=_optional(text))
    encoding: str | None = attrs.field(default=None, validator=_optional(text))
    since: datetime | None = attrs.field(default=None, validator=_optional(_aware))
    until: datetime | None = attrs.field(default=None, validator=_optional(_aware))
    day_first: bool | None = attrs.field(default=None, validator=_optional(flag))
    timestamp: datetime | None = attrs.field(default=None, validator=_optional(_aware))
    contacts: str | os.PathLike[str] | None = None
    limit: int | None = attrs.field(default=None, validator=_optional(positive_integer))
    refunds: str = attrs.field(default="skip", validator=one_of("skip", "custom"))
    duplicates: str = attrs.field(default="skip", validator=one_of("skip", "fail"))
    too_old: str = attrs.field(default="skip", validator=one_of("skip", "dead"))
    to: tuple[str, ...] | None = attrs.field(
        default=None, converter=attrs.converters.optional(_texts), validator=_optional(texts)
    )
    dry_run: bool = False
    resume: bool = False
    rejects: str | os.PathLike[str] | None = None
    max_rejects: int | None = attrs.field(default=None, validator=_optional(positive_integer))
    rate: float | None = attrs.field(default=None, validator=_optional(positive))
    only_first: bool = False
    test: bool = False
    won: tuple[str, ...] = attrs.field(default=(), converter=_texts, validator=texts)
    wait: bool = True
    advice: str = attrs.field(default="python", validator=one_of("python", "command"))

    def __attrs_post_init__(self) -> None:
        if self.delimiter is not None and len(self.delimiter) != 1:
            raise ConfigurationError(
                f"delimiter must be a single character, got {shown(self.delimiter)}"
            )
        if self.encoding is not None:
            try:
                "".encode(self.encoding)
            except (LookupError, ValueError):  # ValueError: half of a surrogate pair, or NUL
                raise ConfigurationError(
                    f"encoding {shown(self.encoding)} is unknown; use e.g. 'utf-8' or 'cp1252'"
                ) from None
