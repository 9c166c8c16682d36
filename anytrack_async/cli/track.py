"""`anytrack track`: one conversion from a shell, and how it ended at each destination."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import partial
from typing import Annotated, Any

import anyio
import attrs
import typer

from anytrack_async.cli.output import (
    FAILED,
    complain,
    outcome_line,
    outcome_record,
    screen,
    write_json,
)
from anytrack_async.client.client import AnyTrackClient
from anytrack_async.client.config import OUTBOX, outbox_from_env, sinks_from_env
from anytrack_async.codec.plain import to_conversion
from anytrack_async.delivery.delivery import Delivery
from anytrack_async.destinations.anytrack.settings import AnyTrackSettings
from anytrack_async.destinations.registry import ANYTRACK
from anytrack_async.errors import ConfigurationError, ConflictError, UndeliveredError
from anytrack_async.events import Event, LaneHeld, LoggingObserver, Weakened
from anytrack_async.models.conversion import Conversion, ConversionType
from anytrack_async.models.outcome import Report, Status
from anytrack_async.outbox.base import Appended
from anytrack_async.settings.delivery import DeliverySettings

_DRAIN = 3.0  # seconds; a shell command should not keep a person waiting at its end


def _option(help_: str, *names: str) -> Any:
    return typer.Option(*names, help=help_)


_Type = Annotated[ConversionType, typer.Argument(help="What happened.", show_default=False)]
_Order = Annotated[str | None, _option("Makes it repeatable: the same order is tracked once.")]
_Revenue = Annotated[str | None, _option("In major units, e.g. 49.90; a sale needs it.")]
_Currency = Annotated[str | None, _option("ISO 4217, e.g. EUR; default USD.")]
_Click = Annotated[str | None, _option("AnyTrack's id of the click that led here.")]
_Email = Annotated[str | None, _option("The customer's address; hashed before Meta gets it.")]
_Name = Annotated[str | None, _option("Name of a custom event.")]
_EventId = Annotated[str | None, _option("Its event id; default: made of type and order.")]
_Time = Annotated[str | None, _option("ISO 8601 with a time zone; default now.")]
_Fields = Annotated[
    list[str] | None,
    _option("NAME=VALUE of any other field: source, customer.phone, custom_data.plan, …", "--set"),
]
_Timeout = Annotated[float, typer.Option(min=0.0, help="Seconds to wait for all destinations.")]
_NoWait = Annotated[bool, _option("Only store it in ANYTRACK_OUTBOX, send nothing.", "--no-wait")]
_Json = Annotated[bool, _option("For programs.", "--json")]


def track(
    conversion_type: _Type,
    order_id: _Order = None,
    revenue: _Revenue = None,
    currency: _Currency = None,
    click_id: _Click = None,
    email: _Email = None,
    event_name: _Name = None,
    event_id: _EventId = None,
    timestamp: _Time = None,
    fields: _Fields = None,
    timeout: _Timeout = 30.0,
    no_wait: _NoWait = False,
    as_json: _Json = False,
) -> None:
    """Track one conversion everywhere, and show how each destination answered."""
    options = dict(locals())  # first of all, while there are no other locals
    conversion = _conversion({name: options[name] for name in _FIELDS}, email, fields or ())
    steps = partial(store, conversion) if no_wait else partial(track_now, conversion, timeout)
    _show(anyio.run(steps), as_json=as_json)


_FIELDS = (
    *("conversion_type", "order_id", "revenue", "currency", "click_id", "event_name"),
    *("event_id", "timestamp"),
)
_MAPPINGS = ("customer", "custom_data", "sub_ids")


@attrs.frozen(kw_only=True)
class TrackResult:
    """How a conversion stands when the command ends.

    Attributes:
        report: its outcome at each destination.
        outbox: path of the outbox file that stores it, None for this process's memory.
        waited: whether the command waited for the destinations.
    """

    report: Report
    outbox: str | None
    waited: bool = True

    @property
    def succeeded(self) -> bool:
        """Whether it is delivered everywhere, or stored if no more was asked for."""
        return self.report.delivered or not self.waited

    @property
    def advice(self) -> str:
        """What to do if it did not succeed."""
        outcomes, event_id = self.report.outcomes, self.report.event_id
        dead = [name for name, outcome in outcomes.items() if outcome.status is Status.DEAD]
        if dead and self.report.final:
            repeat = f"anytrack outbox replay {dead[0]}" if self.outbox else "track it again"
            return (
                f"{event_id} was rejected by {', '.join(dead)}: correct it under a new event id, "
                f"or fix the destination's configuration, then {repeat}"
            )
        if self.outbox:
            return (
                f"{event_id} is not delivered everywhere yet, but stored in {self.outbox}: the "
                "next client that opens it goes on; do not track it again"
            )
        return (
            f"{event_id} is not delivered everywhere and not stored: track it again with "
            f"--event-id {event_id}, which cannot count it twice, or set {OUTBOX} to a file"
        )


async def track_now(conversion: Conversion, timeout: float) -> TrackResult:
    """Track *conversion* with a client from the environment; wait *timeout* seconds at most.

    Raises:
        AnyTrackError: it was not accepted.
    """
    watch = _DeliveryWatch()
    client = AnyTrackClient.from_env(
        observers=[watch], log=False, delivery=DeliverySettings(drain=_DRAIN)
    )
    try:
        async with client:
            delivery = await client.submit(conversion)
            await watch.wait(delivery, timeout)
    except UndeliveredError:
        pass  # the report shows it for each destination
    except anyio.get_cancelled_exc_class():
        # Ctrl-C: closing has drained what it could, now say how the conversion stands.
        watch.complain_if_unfinished()
        raise
    return _result(delivery)


async def store(conversion: Conversion) -> TrackResult:
    """Store *conversion* in the outbox file for all configured destinations; send nothing.

    Raises:
        ConfigurationError: there is no outbox file to store it in.
        ConflictError: its event id was accepted before with other content.
    """
    if _outbox_path() is None:
        raise ConfigurationError(f"--no-wait needs a file to store the conversion: set {OUTBOX}")
    AnyTrackSettings.from_env()  # without its credentials, no client could open this outbox
    outbox = outbox_from_env()
    await outbox.open([ANYTRACK, *(sink.name for sink in sinks_from_env())])
    try:
        if await outbox.append([conversion]) == [Appended.CONFLICT]:
            raise ConflictError(conversion.event_id)
        reports = await outbox.reports([conversion.event_id])
    finally:
        await outbox.aclose()
    return TrackResult(report=reports[conversion.event_id], outbox=_outbox_path(), waited=False)


class _DeliveryWatch:
    """Waits for a delivery, but not at a destination that needs an operator."""

    def __init__(self) -> None:
        self._held: set[str] = set()
        self._scopes: dict[str, anyio.CancelScope] = {}
        self._delivery: Delivery | None = None

    def notify(self, event: Event, /) -> None:
        """Stop waiting for a lane that holds; log warnings about matching."""
        if isinstance(event, Weakened):
            LoggingObserver().notify(event)
        elif isinstance(event, LaneHeld):
            self._held.add(event.destination)
            if event.destination in self._scopes:
                self._scopes[event.destination].cancel()

    async def wait(self, delivery: Delivery, timeout: float) -> None:
        """Wait until no destination will settle it any more; *timeout* seconds at most."""
        self._delivery = delivery
        with anyio.move_on_after(timeout):
            for name in delivery.report.outcomes:
                scope = self._scopes[name] = anyio.CancelScope()
                # Its lane may have stopped before the wait began.
                if name in self._held:
                    scope.cancel()
                with scope:
                    await delivery.at(name)

    def complain_if_unfinished(self) -> None:
        """Write what to do if the conversion is not delivered everywhere."""
        if self._delivery is not None and not (result := _result(self._delivery)).succeeded:
            complain(result.advice)


def _result(delivery: Delivery) -> TrackResult:
    return TrackResult(report=delivery.report, outbox=_outbox_path())


def _outbox_path() -> str | None:
    return os.environ.get(OUTBOX) or None


def _conversion(fields: dict[str, Any], email: str | None, settings: Iterable[str]) -> Conversion:
    record = {name: value for name, value in fields.items() if value is not None}
    if record["conversion_type"] is ConversionType.SALE and "revenue" not in record:
        raise ConfigurationError("a sale needs --revenue")
    if email is not None:
        record["customer"] = {"email": email}
    for setting in settings:
        _set_field(record, *_parse(setting))
    return to_conversion(record)


def _parse(setting: str) -> tuple[str, str]:
    name, equals, value = setting.partition("=")
    if not name or not equals:
        raise ConfigurationError("--set takes NAME=VALUE, e.g. --set source=newsletter")
    return name, value


def _set_field(record: dict[str, Any], name: str, value: str) -> None:
    """Set a field or, as in ``customer.phone``, an entry of one."""
    field, _, entry = name.partition(".")
    if field in _MAPPINGS:
        record.setdefault(field, {})[entry] = value
    else:
        record[name] = value


def _show(result: TrackResult, *, as_json: bool) -> None:
    if as_json:
        write_json(_record(result))
    else:
        _print(result)
    if not result.succeeded:
        complain(result.advice)
        raise typer.Exit(FAILED)


def _print(result: TrackResult) -> None:
    report, console = result.report, screen()
    console.print(f"{report.event_id} is stored", markup=False, soft_wrap=True)
    for name, outcome in report.outcomes.items():
        console.print(outcome_line(name, outcome), soft_wrap=True)


def _record(result: TrackResult) -> dict[str, Any]:
    outcomes = result.report.outcomes
    return {
        "event_id": result.report.event_id,
        "conversion_id": outcomes[ANYTRACK].remote_id,
        "outbox": result.outbox,
        "destinations": {name: outcome_record(outcome) for name, outcome in outcomes.items()},
    }
