"""`anytrack track`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import anyio
import typer

from anytrack_async.cli.guard import FAILED
from anytrack_async.cli.output import complain, outcome_line, outcome_record, screen, write_json
from anytrack_async.cli.tracked import Tracked, track_now, write_down
from anytrack_async.codec.plain import to_conversion
from anytrack_async.errors import ConfigurationError
from anytrack_async.models.conversion import Conversion, ConversionType


def _option(help_: str, *names: str) -> Any:
    return typer.Option(*names, help=help_)


_Type = Annotated[ConversionType, typer.Argument(help="What happened.", show_default=False)]
_Order = Annotated[str | None, _option("Makes it repeatable: the same order is tracked once.")]
_Revenue = Annotated[str | None, _option("In major units, e.g. 49.90; a sale needs it.")]
_Currency = Annotated[str | None, _option("ISO 4217, e.g. EUR; USD if not given.")]
_Click = Annotated[str | None, _option("AnyTrack's id of the click that led here.")]
_Email = Annotated[str | None, _option("The customer's address; hashed before Meta gets it.")]
_Name = Annotated[str | None, _option("What a custom event is called.")]
_Key = Annotated[str | None, _option("The key to it, if not type and order.")]
_Time = Annotated[str | None, _option("ISO 8601 with a zone; now if not given.")]
_More = Annotated[
    list[str] | None,
    _option("NAME=VALUE of any other field: source, customer.phone, custom_data.plan, …", "--set"),
]
_Wait = Annotated[float, typer.Option(min=0.0, help="Seconds to wait for all destinations.")]
_NoWait = Annotated[bool, _option("Only write it into ANYTRACK_OUTBOX, send nothing.", "--no-wait")]
_Json = Annotated[bool, _option("For programs.", "--json")]


def track(
    conversion_type: _Type,
    order_id: _Order = None,
    revenue: _Revenue = None,
    currency: _Currency = None,
    click_id: _Click = None,
    email: _Email = None,
    event_name: _Name = None,
    event_id: _Key = None,
    timestamp: _Time = None,
    more: _More = None,
    timeout: _Wait = 30.0,
    no_wait: _NoWait = False,
    as_json: _Json = False,
) -> None:
    """Track one conversion everywhere, and show what each destination said."""
    options = dict(locals())
    conversion = _conversion({name: options[name] for name in _FIELDS}, email, more or ())
    if no_wait:
        tracked = anyio.run(write_down, conversion)
    else:
        tracked = anyio.run(track_now, conversion, timeout)
    _show(tracked, as_json=as_json)


_FIELDS = (
    *("conversion_type", "order_id", "revenue", "currency", "click_id", "event_name"),
    *("event_id", "timestamp"),
)
_PARTS = ("customer", "custom_data", "sub_ids")


def _conversion(fields: dict[str, Any], email: str | None, more: Iterable[str]) -> Conversion:
    record = {name: value for name, value in fields.items() if value is not None}
    if record["conversion_type"] is ConversionType.SALE and "revenue" not in record:
        raise ConfigurationError("a sale needs --revenue")
    if email is not None:
        record["customer"] = {"email": email}
    for setting in more:
        _place(record, *_parsed(setting))
    return to_conversion(record)


def _parsed(setting: str) -> tuple[str, str]:
    name, equals, value = setting.partition("=")
    if not name or not equals:
        raise ConfigurationError("--set takes NAME=VALUE, e.g. --set source=newsletter")
    return name, value


def _place(record: dict[str, Any], name: str, value: str) -> None:
    part, _, inner = name.partition(".")
    if part in _PARTS:
        record.setdefault(part, {})[inner] = value
    else:
        record[name] = value


def _show(tracked: Tracked, *, as_json: bool) -> None:
    if as_json:
        write_json(_record(tracked))
    else:
        _print(tracked)
    if not tracked.fine:
        complain(tracked.advice)
        raise typer.Exit(FAILED)


def _print(tracked: Tracked) -> None:
    report, console = tracked.report, screen()
    console.print(f"{report.event_id} is written down", markup=False, soft_wrap=True)
    for name, outcome in report.outcomes.items():
        console.print(outcome_line(name, outcome), soft_wrap=True)


def _record(tracked: Tracked) -> dict[str, Any]:
    outcomes = tracked.report.outcomes
    return {
        "event_id": tracked.report.event_id,
        "conversion_id": outcomes["anytrack"].remote_id,
        "kept_in": tracked.kept_in,
        "destinations": {name: outcome_record(one) for name, one in outcomes.items()},
    }
