"""`anytrack outbox forget`: erases a person's data from the outbox file."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import anyio
import attrs
import typer
from rich.text import Text

from anytrack_async.cli.outbox import open_outbox, outbox_location
from anytrack_async.cli.output import (
    BAD,
    FAILED,
    make_table,
    stdout_console,
    write_error,
    write_json,
)
from anytrack_async.cli.selection import OutboxOption
from anytrack_async.client.forgetting import ForgottenConversion, ForgottenCustomer, forget_customer
from anytrack_async.client.locations import OutboxLocation
from anytrack_async.errors import ConfigurationError
from anytrack_async.models.erasure import Person

_FROM_STDIN = "-"


def forget(
    email: Annotated[
        str | None,
        typer.Option(help="The e-mail address; - asks for it.", show_default=False),
    ] = None,
    phone: Annotated[
        str | None,
        typer.Option(help="The phone number with country code; or -.", show_default=False),
    ] = None,
    external_id: Annotated[
        str | None,
        typer.Option(help="Your own id of the customer; or -.", show_default=False),
    ] = None,
    redact: Annotated[
        bool,
        typer.Option(
            "--redact", help="Send what waits without the customer, instead of discarding it."
        ),
    ] = False,
    outbox: OutboxOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")] = False,
) -> None:
    """Erase a person's data, and show which destinations already have them.

    Waiting and dead conversions of the person are discarded. Other programs
    may use the outbox meanwhile. If an option has the value -, the command
    asks for it, or reads it from the standard input, so that it appears
    neither in the shell's history nor in the list of processes. Erase the
    data at the destinations yourself, with the ids shown: a second run does
    not find them again. To drop all conversions that wait for a destination,
    use `anytrack outbox remove-destination`.
    """
    person = _person(email, phone, external_id)
    location = outbox_location(outbox)
    if not yes and not as_json:  # JSON is for programs, which cannot answer
        typer.confirm("Erase this person's data from the outbox for good?", abort=True)
    forgotten = anyio.run(_forget, location, person, redact)
    if as_json:
        write_json(_record(forgotten))
    else:
        _show(forgotten)
    if forgotten.unreadable:
        ids = ", ".join(forgotten.unreadable[:20])
        write_error(
            f"{len(forgotten.unreadable)} conversions cannot be read, e.g. {ids}: perhaps "
            "they are this person's; see: anytrack outbox verify"
        )
        raise typer.Exit(FAILED)


def _person(email: str | None, phone: str | None, external_id: str | None) -> Person:
    options = {"--email": email, "--phone": phone, "--external-id": external_id}
    options_from_stdin = [option for option, value in options.items() if value == _FROM_STDIN]
    if len(options_from_stdin) > 1:
        raise ConfigurationError(f"only one of {' and '.join(options_from_stdin)} can be -")
    values = [_value(option, value) for option, value in options.items()]
    if not any(values):
        raise ConfigurationError("forget needs --email, --phone or --external-id")
    return Person(email=values[0], phone=values[1], external_id=values[2])


def _value(option: str, value: str | None) -> str | None:
    if value != _FROM_STDIN:
        return value
    if sys.stdin.isatty():
        # Not echoed: the terminal's history would keep the person's address.
        answer: str = typer.prompt(option.removeprefix("--"), hide_input=True)
        return answer
    return sys.stdin.readline().strip()


async def _forget(location: OutboxLocation, person: Person, redact: bool) -> ForgottenCustomer:
    async with open_outbox(location) as outbox:
        return await forget_customer(outbox, person, "redact" if redact else "discard")


def _record(forgotten: ForgottenCustomer) -> dict[str, Any]:
    conversions = [attrs.asdict(conversion) for conversion in forgotten.conversions]
    return {"conversions": conversions, "unreadable": list(forgotten.unreadable)}


def _show(forgotten: ForgottenCustomer) -> None:
    if not forgotten.conversions:
        stdout_console().print("the outbox has no data of this person")
        return
    table = make_table("event id", "sent to", "discarded", "redacted")
    for conversion in forgotten.conversions:
        table.add_row(
            Text(conversion.event_id),
            Text(_sent(conversion), BAD),
            ", ".join(conversion.discarded),
            ", ".join(conversion.redacted),
        )
    stdout_console(wide=True).print(table)
    count = len(forgotten.conversions)
    stdout_console().print(
        f"erased from {count} conversions; erase what was sent at its destination too",
        soft_wrap=True,
    )


def _sent(conversion: ForgottenConversion) -> str:
    sent = [f"{name} ({id_})" if id_ else name for name, id_ in conversion.sent.items()]
    return ", ".join([*sent, *(f"{name} (perhaps)" for name in conversion.in_flight)])
