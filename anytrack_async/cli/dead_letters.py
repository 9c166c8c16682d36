"""`anytrack outbox dead|show|replay|discard|edit|export`: dead letters in the outbox file."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import anyio
import typer
from rich.table import Table
from rich.text import Text

from anytrack_async.cli.corrections import export_letters, read_corrections
from anytrack_async.cli.outbox import open_outbox, outbox_location
from anytrack_async.cli.output import (
    make_table,
    outcome_line,
    outcome_record,
    stdout_console,
    write_error,
    write_json,
    write_json_line,
)
from anytrack_async.cli.selection import (
    All,
    Code,
    Destination,
    Json,
    NewerThan,
    OlderThan,
    OutboxOption,
    ReasonText,
    Selection,
    Targets,
    check_dead,
    option,
    select,
    set_fields,
    unknown_event_id,
)
from anytrack_async.client.locations import OutboxLocation
from anytrack_async.errors import ConfigurationError
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.outcome import Outcome, Report
from anytrack_async.models.plain import to_conversion, to_dict
from anytrack_async.outbox.base import Outbox
from anytrack_async.outbox.dead_letters import DeadLetter
from anytrack_async.outbox.history import KeepsHistory, RememberedConversion

_PAGE_SIZE = 500
_SHOWN = 100

# What may identify the customer; `show` hides the values.
_PRIVATE = frozenset(
    {
        *("customer", "click_id", "ip_address", "user_agent", "page_url", "sub_ids"),
        *("custom_data", "meta", "clicks"),
    }
)


# Reading


def dead(
    targets: Targets = None,
    destination: Destination = None,
    code: Code = None,
    text: ReasonText = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="How many to show; default: 100, with --json all.")
    ] = None,
    outbox: OutboxOption = None,
    as_json: Json = False,
) -> None:
    """List the conversions that a destination rejected for good, each with the reason."""
    selection = select(targets, destination, code, text, older_than, newer_than)
    location = outbox_location(outbox)
    if as_json:
        anyio.run(_print_lines, location, selection, limit)
        return
    limit = limit or _SHOWN
    letters = anyio.run(_first, location, selection, limit + 1)
    if not letters:
        stdout_console().print("no dead letters")
        return
    stdout_console(wide=True).print(_table(letters[:limit]))
    if len(letters) > limit:
        stdout_console().print(f"showing the first {limit}; see more with --limit")


async def _print_lines(location: OutboxLocation, selection: Selection, limit: int | None) -> None:
    async with open_outbox(location) as outbox:
        count = 0
        async for letter in _letters(outbox, await selection.resolve(outbox)):
            if count == limit:
                return
            write_json_line(_record(letter))
            count += 1


async def _first(location: OutboxLocation, selection: Selection, limit: int) -> list[DeadLetter]:
    async with open_outbox(location) as outbox:
        selection = await selection.resolve(outbox)
        letters: list[DeadLetter] = []
        async for letter in _letters(outbox, selection):
            letters.append(letter)
            if len(letters) == limit:
                break
        return letters


async def _letters(outbox: Outbox, selection: Selection) -> AsyncGenerator[DeadLetter, None]:
    after = 0
    while page := await outbox.dead_letters(
        selection.destination,
        event_ids=selection.event_ids,
        where=selection.where,
        after=after,
        limit=_PAGE_SIZE,
    ):
        after = page[-1].seq
        for letter in page:
            yield letter


def _table(letters: Sequence[DeadLetter]) -> Table:
    table = make_table("died (UTC)", "destination", "event id", "code", ">attempts", "reason")
    for letter in letters:
        cells = (letter.destination, letter.event_id, letter.code or "", str(letter.attempts))
        died = Text(f"{letter.died:%Y-%m-%d %H:%M:%S}")
        table.add_row(died, *map(Text, cells), Text(letter.error))
    return table


def _record(letter: DeadLetter) -> dict[str, Any]:
    return {
        "destination": letter.destination,
        "event_id": letter.event_id,
        "attempts": letter.attempts,
        "error": letter.error,
        "code": letter.code,
        "died_at": letter.died.isoformat(timespec="milliseconds"),
    }


def show(
    event_id: Annotated[str, typer.Argument(metavar="EVENT_ID", help="The conversion's event id.")],
    outbox: OutboxOption = None,
    reveal: Annotated[bool, option("Show the customer's data too.", "--reveal")] = False,
    as_json: Annotated[bool, option("Write JSON, for programs.", "--json")] = False,
) -> None:
    """Show the state of one conversion at each destination, and its fields while it is stored.

    Values that may identify the customer are shown as ***, unless you ask for them with --reveal.
    """
    report, letters, conversion = anyio.run(_read, outbox_location(outbox), event_id)
    died = {letter.destination: letter.died for letter in letters}
    fields = None if conversion is None else _shown_fields(conversion, reveal=reveal)
    if as_json:
        outcomes = {name: outcome_record(outcome) for name, outcome in report.outcomes.items()}
        for name, moment in died.items():
            outcomes[name]["died_at"] = moment.isoformat(timespec="milliseconds")
        write_json({"event_id": event_id, "destinations": outcomes, "conversion": fields})
        return
    console = stdout_console()
    console.print(Text(event_id), soft_wrap=True)
    for name, outcome in report.outcomes.items():
        console.print(_line_of(name, outcome, died.get(name)), soft_wrap=True)
    for name, value in (fields or {}).items():
        console.print(Text(f"  {name:<15} {value}"), soft_wrap=True)


def _line_of(destination: str, outcome: Outcome, died: datetime | None) -> Text:
    line = outcome_line(destination, outcome)
    line.append(f"  code {outcome.code}" if outcome.code else "")
    line.append(f"  attempts {outcome.attempts}" if outcome.error else "")
    line.append("" if died is None else f"  died {died:%Y-%m-%d %H:%M:%S} UTC")
    return line


async def _read(
    location: OutboxLocation, event_id: str
) -> tuple[Report, Sequence[DeadLetter], Conversion | None]:
    async with open_outbox(location) as outbox:
        reports = await outbox.reports([event_id])
        if event_id not in reports:
            raise ConfigurationError(unknown_event_id(event_id))
        letters = await outbox.dead_letters(event_ids=[event_id])
        if letters:
            return reports[event_id], letters, letters[0].conversion
        stored: Sequence[RememberedConversion] = ()
        if isinstance(outbox, KeepsHistory):
            stored = await outbox.find(event_id=event_id, limit=1)
        return reports[event_id], (), stored[0].conversion if stored else None


def _shown_fields(conversion: Conversion, *, reveal: bool) -> dict[str, Any]:
    fields = to_dict(conversion)
    if reveal:
        return fields
    return {name: _hidden(value) if name in _PRIVATE else value for name, value in fields.items()}


def _hidden(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict.fromkeys(value, "***")
    return "***"


# Changing


def replay(
    targets: Targets = None,
    destination: Destination = None,
    code: Code = None,
    text: ReasonText = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    everything: All = False,
    outbox: OutboxOption = None,
) -> None:
    """Send dead letters again, when the cause is fixed.

    The client that has this outbox open sends them at once; without one, the next client does.
    """
    selection = select(targets, destination, code, text, older_than, newer_than)
    _check_said(selection, "replay", everything=everything)
    selection, count = anyio.run(_replay, outbox_location(outbox), selection)
    pronoun = "it" if count == 1 else "them"
    advice = f"; the client that has the outbox open, or the next client, sends {pronoun}"
    place = f" at {selection.destination}" if selection.destination else ""
    are = "dead letter is" if count == 1 else "dead letters are"
    stdout_console().print(
        Text(f"{count} {are} due again{place}{advice if count else ''}"), soft_wrap=True
    )


async def _replay(location: OutboxLocation, selection: Selection) -> tuple[Selection, int]:
    async with open_outbox(location) as outbox:
        selection = await selection.resolve(outbox)
        options = (selection.destination, selection.event_ids)
        return selection, await outbox.replay(*options, where=selection.where)


def discard(
    targets: Targets = None,
    destination: Destination = None,
    code: Code = None,
    text: ReasonText = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    everything: All = False,
    outbox: OutboxOption = None,
    yes: Annotated[bool, option("Do not ask.", "--yes", "-y")] = False,
) -> None:
    """Give up dead letters for good: their destinations never get these conversions.

    The command asks first, with their number. Their event ids are remembered
    for the usual time.
    """
    selection = select(targets, destination, code, text, older_than, newer_than)
    _check_said(selection, "discard", everything=everything)
    location = outbox_location(outbox)
    if not yes:
        count = anyio.run(_count, location, selection)
        if not count:
            stdout_console().print("no dead letters")
            return
        letters = "dead letter" if count == 1 else "dead letters"
        typer.confirm(f"Discard {count} {letters} for good?", abort=True)
    count = anyio.run(_discard, location, selection)
    stdout_console().print(f"{count} discarded")


async def _count(location: OutboxLocation, selection: Selection) -> int:
    async with open_outbox(location) as outbox:
        count = 0
        async for _ in _letters(outbox, await selection.resolve(outbox)):
            count += 1
        return count


async def _discard(location: OutboxLocation, selection: Selection) -> int:
    async with open_outbox(location) as outbox:
        selection = await selection.resolve(outbox)
        options = (selection.destination, selection.event_ids)
        return await outbox.discard(*options, where=selection.where)


def _check_said(selection: Selection, command: str, *, everything: bool) -> None:
    if selection.is_everything and not everything:
        raise ConfigurationError(
            f"say what to {command}: event ids, --destination, --code, --text, --older-than or "
            "--newer-than; or --all"
        )


def edit(
    event_id: Annotated[
        str | None, typer.Argument(metavar="EVENT_ID", help="The event id.", show_default=False)
    ] = None,
    fields: Annotated[
        list[str] | None,
        option("A field and its new value, e.g. revenue=49.90.", "--set", metavar="NAME=VALUE"),
    ] = None,
    file: Annotated[
        Path | None, option("Corrected conversions, as `export` writes them.", metavar="PATH")
    ] = None,
    outbox: OutboxOption = None,
) -> None:
    """Correct conversions under their event ids, and send them where they were rejected.

    Destinations that have received the old conversion get nothing.
    """
    if (file is None) is not (event_id is not None and bool(fields)):
        raise ConfigurationError(
            "edit needs an event id and --set NAME=VALUE, or --file PATH with corrected conversions"
        )
    if file is not None:
        read = partial(read_corrections, file)
    else:
        read = partial(_changed, outbox_location(outbox), event_id or "", fields or ())
    corrections = anyio.run(read)
    if not corrections:
        raise ConfigurationError(f"nothing was changed: {file} has no conversions")
    for conversion, destinations in anyio.run(_correct, outbox_location(outbox), corrections):
        places = ", ".join(destinations) or "nowhere, it is no dead letter any more"
        stdout_console().print(
            Text(f"{conversion.event_id} is corrected and due again at {places}"), soft_wrap=True
        )


async def _changed(
    location: OutboxLocation, event_id: str, fields: Sequence[str]
) -> list[Conversion]:
    async with open_outbox(location) as outbox:
        await check_dead(outbox, None, [event_id])
        letters = await outbox.dead_letters(event_ids=[event_id], limit=1)
        if not letters:
            raise ConfigurationError(f"the record of {event_id!r} cannot be read: use --file")
        record = to_dict(letters[0].conversion)
        set_fields(record, fields)
        if record["event_id"] != event_id:
            raise ConfigurationError("an event id cannot be changed: track a new conversion")
        return [to_conversion(record)]


async def _correct(
    location: OutboxLocation, conversions: Sequence[Conversion]
) -> list[tuple[Conversion, Sequence[str]]]:
    async with open_outbox(location) as outbox:
        await check_dead(outbox, None, [conversion.event_id for conversion in conversions])
        return [(conversion, await outbox.correct(conversion)) for conversion in conversions]


def export(
    file: Annotated[Path, typer.Argument(metavar="PATH", help="The file: .jsonl or .csv.")],
    targets: Targets = None,
    destination: Destination = None,
    code: Code = None,
    text: ReasonText = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    outbox: OutboxOption = None,
    force: Annotated[bool, option("Replace the file if it exists.", "--force", "-f")] = False,
) -> None:
    """Write dead letters to a file that you can correct and pass to `edit --file`.

    Each conversion is written once, with its reasons as a note, and with the customer's data: only
    you can read the file.
    """
    selection = select(targets, destination, code, text, older_than, newer_than)
    if file.exists() and not force:
        raise ConfigurationError(f"{file} exists; use --force to replace it")
    count = anyio.run(_export, outbox_location(outbox), selection, file)
    stdout_console().print(Text(f"{count} conversions written to {file}"), soft_wrap=True)
    if count:
        write_error("the file has the customers' data: delete it after use", label="note")


async def _export(location: OutboxLocation, selection: Selection, file: Path) -> int:
    async with open_outbox(location) as outbox:
        return await export_letters(_letters(outbox, await selection.resolve(outbox)), file)


def add_commands(commands: typer.Typer) -> None:
    """Add the commands to ``anytrack outbox``."""
    for command in (dead, show, replay, discard, edit, export):
        commands.command()(command)
    commands.command("dead-letters", hidden=True)(dead)  # its name in earlier releases
