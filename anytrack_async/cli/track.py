"""`anytrack track`: track one conversion from a shell and show its outcome at each destination."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import partial
from typing import Annotated, Any

import anyio
import attrs
import typer

from anytrack_async.cli.outbox import outbox_option
from anytrack_async.cli.output import (
    FAILED,
    Interrupted,
    outcome_line,
    outcome_record,
    stdout_console,
    write_error,
    write_json,
)
from anytrack_async.cli.selection import OutboxOption, set_fields
from anytrack_async.cli.signals import interruptible
from anytrack_async.client.client import AnyTrackClient
from anytrack_async.client.config import OUTBOX_VARIABLE, outbox_from_env, sinks_from_env
from anytrack_async.client.locations import MEMORY, OutboxLocation
from anytrack_async.delivery.delivery import Delivery
from anytrack_async.destinations.anytrack.settings import AnyTrackSettings
from anytrack_async.destinations.registry import ANYTRACK
from anytrack_async.errors import ConfigurationError, UndeliveredError
from anytrack_async.events import Contradicted, Event, LaneHeld, Weakened
from anytrack_async.models.contradiction import Contradiction
from anytrack_async.models.conversion import Conversion, ConversionType
from anytrack_async.models.outcome import Report, Status
from anytrack_async.models.plain import to_conversion
from anytrack_async.observers import LoggingObserver
from anytrack_async.settings.delivery import DeliverySettings

_DRAIN = 3.0  # seconds; a shell command should end quickly


def _option(help_: str, *names: str) -> Any:
    return typer.Option(*names, help=help_)


_Type = Annotated[ConversionType, typer.Argument(help="Type of conversion.", show_default=False)]
_Order = Annotated[str | None, _option("Your order id; the same order is tracked only once.")]
_Revenue = Annotated[str | None, _option("In major units, e.g. 49.90; required for a sale.")]
_Currency = Annotated[str | None, _option("ISO 4217 code, e.g. EUR; default: USD.")]
_Click = Annotated[str | None, _option("AnyTrack's id of the click that led to the conversion.")]
_Email = Annotated[str | None, _option("The customer's e-mail address; hashed for Meta.")]
_Name = Annotated[str | None, _option("Name of a custom event.")]
_EventId = Annotated[str | None, _option("Event id; default: made from type and order id.")]
_Time = Annotated[str | None, _option("ISO 8601 with a time zone; default: now.")]
_Fields = Annotated[
    list[str] | None,
    _option("NAME=VALUE of any other field: source, customer.phone, custom_data.plan, …", "--set"),
]
_Timeout = Annotated[float, typer.Option(min=0.0, help="Seconds to wait for all destinations.")]
_NoWait = Annotated[bool, _option("Only store it in the outbox; send nothing.", "--no-wait")]
_Json = Annotated[bool, _option("Write JSON, for programs.", "--json")]


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
    outbox: OutboxOption = None,
    as_json: _Json = False,
) -> None:
    """Track one conversion and show its outcome at each destination."""
    options = dict(locals())  # must come first: later, there are other local variables
    conversion = _conversion({name: options[name] for name in _FIELDS}, email, fields or ())
    if no_wait:
        steps = partial(store, conversion, outbox)
    else:
        steps = partial(track_now, conversion, timeout, outbox)
    _show(anyio.run(steps), as_json=as_json)


_FIELDS = (
    *("conversion_type", "order_id", "revenue", "currency", "click_id", "event_name"),
    *("event_id", "timestamp"),
)


@attrs.frozen(kw_only=True)
class TrackResult:
    """The state of a conversion when the command ends.

    Attributes:
        report: the outcome at each destination.
        outbox: path of the outbox file that stores the conversion, None for an outbox in memory.
        waited: whether the command waited for the destinations.
        option: the option ``--outbox`` for another command, e.g. ``" --outbox shop.db"``; empty
            if the environment names it.
    """

    report: Report
    outbox: str | None
    waited: bool = True
    option: str = ""

    @property
    def succeeded(self) -> bool:
        """Whether all have it that may; with ``--no-wait``, being stored is enough."""
        statuses = {outcome.status for outcome in self.report.outcomes.values()}
        return statuses <= {Status.DELIVERED, Status.SKIPPED} or not self.waited

    @property
    def advice(self) -> str:
        """Instructions for a command that did not succeed, with the conversion's event id."""
        outcomes, event_id = self.report.outcomes, self.report.event_id
        dead = [name for name, outcome in outcomes.items() if outcome.status is Status.DEAD]
        if dead and self.report.final:
            rejected = f"{event_id} was rejected by {', '.join(dead)}"
            if not self.outbox:
                return (
                    f"{rejected}: correct it, or fix the destination's configuration, then track "
                    "it again"
                )
            return (
                f"{rejected}: correct it with anytrack outbox edit {event_id}{self.option} "
                "--set NAME=VALUE, or fix the destination's configuration, then anytrack outbox "
                f"replay {event_id}{self.option}"
            )
        if self.outbox:
            return (
                f"{event_id} is not delivered everywhere yet, but stored in {self.outbox}: the "
                "next client that opens the outbox delivers it; do not track it again"
            )
        return (
            f"{event_id} is not delivered everywhere and not stored: track it again with "
            f"--event-id {event_id}, so that it is not counted twice, or name a file with "
            f"{OUTBOX_VARIABLE} or --outbox"
        )


async def track_now(
    conversion: Conversion, timeout: float, outbox: str | None = None
) -> TrackResult:
    """Track *conversion* with a client from the environment; wait *timeout* seconds at most.

    Its outbox is at *outbox*, or at ``ANYTRACK_OUTBOX``.

    Raises:
        AnyTrackError: the conversion was not accepted.
        Interrupted: Ctrl-C or SIGTERM; what to do with the conversion is written to standard error.
    """
    watch = _DeliveryWatch(outbox)
    client = AnyTrackClient.from_env(
        outbox=outbox or None,
        observers=[watch],
        log=False,
        delivery=DeliverySettings(drain=_DRAIN),
    )
    try:
        async with interruptible(client, _shown_location(outbox)):
            delivery = await client.submit(conversion)
            await watch.wait(delivery, timeout)
    except UndeliveredError:
        pass  # the report shows the outcome at each destination
    except (Interrupted, anyio.get_cancelled_exc_class()):  # cancelled by Ctrl-C on Windows
        watch.advise_if_undelivered()
        raise
    return _result(delivery, outbox)


async def store(conversion: Conversion, outbox_address: str | None = None) -> TrackResult:
    """Store *conversion* in the outbox for all configured destinations; send nothing.

    Raises:
        ConfigurationError: there is no outbox on disk to store the conversion in.
    """
    shown_location = _shown_location(outbox_address)
    if shown_location is None:
        raise ConfigurationError(
            "--no-wait needs an outbox to store the conversion: name a file with "
            f"{OUTBOX_VARIABLE} or --outbox"
        )
    AnyTrackSettings.from_env()  # without its credentials, no client could open this outbox
    outbox = outbox_from_env(outbox=outbox_address or None)
    await outbox.open([ANYTRACK, *(sink.name for sink in sinks_from_env())])
    try:
        (result,) = await outbox.append([conversion])
        reports = await outbox.reports([conversion.event_id])
    finally:
        await outbox.aclose()
    report, log = reports[conversion.event_id], LoggingObserver()
    for kind in conversion.weakened:
        log.notify(Weakened(reason=kind))
    if isinstance(result, Contradiction):
        log.notify(Contradicted(contradiction=result))
        report = attrs.evolve(report, contradicts=result)
    return TrackResult(report=report, outbox=shown_location, waited=False)


class _DeliveryWatch:
    """Waits for a delivery, but not for a destination with a lane on hold."""

    def __init__(self, outbox: str | None = None) -> None:
        self._outbox = outbox
        self._log = LoggingObserver()
        self._held: set[str] = set()
        self._scopes: dict[str, anyio.CancelScope] = {}
        self._delivery: Delivery | None = None

    def notify(self, event: Event, /) -> None:
        """Stop waiting for a destination with a lane on hold; log problems of the conversion."""
        if isinstance(event, Weakened | Contradicted):
            self._log.notify(event)
        elif isinstance(event, LaneHeld):
            self._held.add(event.destination)
            if event.destination in self._scopes:
                self._scopes[event.destination].cancel()

    async def wait(self, delivery: Delivery, timeout: float) -> None:
        """Wait for the final outcome at each destination; *timeout* seconds at most."""
        self._delivery = delivery
        with anyio.move_on_after(timeout):
            for name in delivery.report.outcomes:
                scope = self._scopes[name] = anyio.CancelScope()
                # The lane may hold already, before this wait began.
                if name in self._held:
                    scope.cancel()
                with scope:
                    await delivery.at(name)

    def advise_if_undelivered(self) -> None:
        """Write the advice to standard error if the conversion is not delivered everywhere."""
        if self._delivery is None:
            return
        if not (result := _result(self._delivery, self._outbox)).succeeded:
            write_error(result.advice)


def _result(delivery: Delivery, outbox: str | None) -> TrackResult:
    return TrackResult(
        report=delivery.report, outbox=_shown_location(outbox), option=outbox_option(outbox)
    )


def _shown_location(outbox: str | None) -> str | None:
    value = outbox or os.environ.get(OUTBOX_VARIABLE)
    return str(OutboxLocation(value)) if value and value != MEMORY else None


def _conversion(fields: dict[str, Any], email: str | None, settings: Iterable[str]) -> Conversion:
    record = {name: value for name, value in fields.items() if value is not None}
    if record["conversion_type"] is ConversionType.SALE and "revenue" not in record:
        raise ConfigurationError("a sale needs --revenue")
    if "," in record.get("revenue", ""):
        raise ConfigurationError(
            "--revenue must have no comma, because 1,299 is 1299 to one reader and 1.299 to "
            "another: write it like 1299.90"
        )
    if email is not None:
        record["customer"] = {"email": email}
    set_fields(record, settings)
    return to_conversion(record)


def _show(result: TrackResult, *, as_json: bool) -> None:
    if as_json:
        write_json(_record(result))
    else:
        _print(result)
    if not result.succeeded:
        write_error(result.advice)
        raise typer.Exit(FAILED)


def _print(result: TrackResult) -> None:
    report, console = result.report, stdout_console()
    console.print(f"{report.event_id} is stored", markup=False, soft_wrap=True)
    for name, outcome in report.outcomes.items():
        console.print(outcome_line(name, outcome), soft_wrap=True)


def _record(result: TrackResult) -> dict[str, Any]:
    outcomes, contradicts = result.report.outcomes, result.report.contradicts
    return {
        "event_id": result.report.event_id,
        "conversion_id": outcomes[ANYTRACK].remote_id,
        "outbox": result.outbox,
        "contradicts": str(contradicts) if contradicts else None,
        "destinations": {name: outcome_record(outcome) for name, outcome in outcomes.items()},
    }
