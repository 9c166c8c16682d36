"""Actions of admins on dead letters: replay, discard, export and correct."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import anyio
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse

from anytrack_async.client.dead_letters import export_rows, not_dead_reason
from anytrack_async.errors import InvalidConversionError
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.plain import as_json, to_conversion, to_dict
from anytrack_async.outbox.base import Outbox
from anytrack_async.outbox.dead_letters import Action
from anytrack_async.web_console.jobs import Job
from anytrack_async.web_console.masking import PRIVATE, shown_fields
from anytrack_async.web_console.pages import (
    Context,
    conversion_address,
    fragment,
    log_action,
    position,
)
from anytrack_async.web_console.security import Refused, read_fields, read_form
from anytrack_async.web_console.selection import LetterSelection

_EDITABLE = (
    *("conversion_type", "revenue", "currency", "timestamp", "order_id", "event_name"),
    *("source", "campaign_id", "ad_id", "click_id", "ip_address", "user_agent", "page_url"),
)
_CUSTOMER = (
    *("email", "phone", "first_name", "last_name", "gender", "birth_date", "city", "state"),
    *("postal_code", "country", "external_id"),
)
_DONE: dict[Action, str] = {"replay": "replayed", "discard": "discarded"}

_AT_ONCE = 0.5
"""Seconds within which a change of all that match may be done before the answer."""

FIELDS = (*_EDITABLE, *(f"customer.{name}" for name in _CUSTOMER))
"""Fields that the form corrects."""


async def replay(context: Context, request: Request) -> Response:
    """Make dead letters due again."""
    name, selection, is_confirmed = await _selected(context, request)
    # An accidental click replays the selected dead letters; it must not replay 100,000.
    if selection.letters is None and not is_confirmed:
        return await _confirmation(context, request, "replay", selection)
    return await _change(context, name, "replay", selection)


async def discard(context: Context, request: Request) -> Response:
    """Discard dead letters, after a page that asks for confirmation."""
    name, selection, is_confirmed = await _selected(context, request)
    if not is_confirmed:
        return await _confirmation(context, request, "discard", selection)
    return await _change(context, name, "discard", selection)


async def _change(
    context: Context, name: str, action: Action, selection: LetterSelection
) -> Response:
    """Replay or discard: single dead letters at once, and all that match as a job."""
    if selection.letters is None:
        return await _begin_job(context, name, action, selection)
    count = 0
    for destination, event_ids in selection.letters.items():
        count += await context.source.change(action, destination, event_ids)
    log_action(name, _DONE[action], count, "dead letters")
    return _back(selection, _DONE[action], count)


async def _begin_job(
    context: Context, name: str, action: Action, selection: LetterSelection
) -> Response:
    """Begin to change all that match; a few are done before the answer."""
    number, more = await selection.count(await context.source.outbox())

    async def work(job: Job) -> None:
        try:
            async for count in context.source.change_all(action, selection):
                job.count += count
        finally:
            log_action(
                name, _DONE[action], job.count, "dead letters", destination=selection.destination
            )

    job = context.jobs.start(action, selection, name, None if more else number, work)
    with anyio.move_on_after(_AT_ONCE):
        await job.ended.wait()
    if job.is_running or job.problem:
        return RedirectResponse(selection.address(job=job.id), status_code=303)
    return _back(selection, _DONE[action], job.count)


async def job(context: Context, request: Request) -> Response:
    """Return the part of the page that shows how far a job is."""
    shown = context.jobs.get(position(request.query_params.get("id", "")))
    if shown is None:
        raise Refused(404, "This process knows no such replay or discard.")
    return HTMLResponse(fragment("job.html", job=shown, is_admin=await context.is_admin(request)))


async def stop(context: Context, request: Request) -> Response:
    """Stop a job between two steps."""
    name = await context.check_admin(request)
    job_id = position((await read_form(request)).get("id", ""))
    if context.jobs.get(job_id) is None:
        raise Refused(404, "Nothing was stopped: this process knows no such replay or discard.")
    context.jobs.stop(job_id)
    log_action(name, "stopped", 1, "replays or discards of many")
    return RedirectResponse(f"dead-letters?job={job_id}", status_code=303)


async def export(context: Context, request: Request) -> Response:
    """Return dead letters as lines of JSON, which ``anytrack outbox edit --file`` reads."""
    name, selection, _ = await _selected(context, request)
    outbox = await context.source.outbox()
    file = f"dead-letters-{datetime.now(UTC):%Y%m%d-%H%M%S}.jsonl"
    return StreamingResponse(
        _lines(name, selection, outbox),
        media_type="application/jsonl",
        headers={"content-disposition": f'attachment; filename="{file}"'},
    )


async def _lines(
    name: str, selection: LetterSelection, outbox: Outbox
) -> AsyncGenerator[str, None]:
    count = 0
    try:
        async with aclosing(export_rows(selection.stream(outbox))) as rows:
            async for row in rows:
                yield f"{as_json(row)}\n"
                count += 1
    finally:
        # Also if the browser went away: those before have left the console.
        log_action(name, "exported", count, "dead letters", destination=selection.destination)


async def _selected(context: Context, request: Request) -> tuple[str, LetterSelection, bool]:
    """Return the admin's name, the selection, and whether the admin has confirmed it."""
    name = await context.check_admin(request)
    lists = await read_fields(request)
    fields = {field: values[-1] for field, values in lists.items()}
    selection = LetterSelection.from_fields(fields)
    if fields.get("scope") != "all":
        selection = selection.with_letters(lists.get("letter", ()))
    return name, selection, fields.get("confirmed") == "yes"


async def _confirmation(
    context: Context, request: Request, action: str, selection: LetterSelection
) -> Response:
    count, more = await selection.count(await context.source.outbox())
    return await context.page(
        request, "confirm.html", action=action, selection=selection, number=count, more=more
    )


def _back(selection: LetterSelection, action: str, count: int) -> Response:
    return RedirectResponse(selection.address(done=action, count=count), status_code=303)


# Correcting


async def edit_form(context: Context, request: Request) -> Response:
    """Return the form that corrects a dead letter; a customer's values are not in it."""
    if not await context.is_admin(request):
        raise Refused(403, "Only an admin may correct a conversion.")
    conversion = await _dead_conversion(context, request.query_params.get("event_id", ""))
    return await _form(context, request, conversion, {}, "")


async def edit(context: Context, request: Request) -> Response:
    """Correct a dead letter and send it again where it is dead."""
    name = await context.check_admin(request)
    fields = await read_form(request)
    conversion = await _dead_conversion(context, fields.get("event_id", ""))
    try:
        corrected = _corrected(conversion, fields)
    except InvalidConversionError as exc:
        return await _form(context, request, conversion, fields, str(exc))
    destinations = await context.source.correct(corrected)
    place = f"{corrected.event_id} at {', '.join(destinations)}"
    log_action(name, "corrected", 1, "dead letters", event_id=place)
    return RedirectResponse(
        conversion_address(corrected.event_id, done="corrected"), status_code=303
    )


async def _dead_conversion(context: Context, event_id: str) -> Conversion:
    outbox = await context.source.outbox()
    letters = await outbox.dead_letters(event_ids=[event_id], limit=1) if event_id else ()
    if not letters:
        raise Refused(404, f"Nothing to correct: {await not_dead_reason(outbox, event_id or '-')}.")
    return letters[0].conversion


async def _form(
    context: Context,
    request: Request,
    conversion: Conversion,
    entered: Mapping[str, str],
    problem: str,
) -> Response:
    masked = {field.name: field.value for field in shown_fields(conversion)}
    return await context.page(
        request,
        "edit.html",
        status=400 if problem else 200,
        conversion=conversion,
        fields=FIELDS,
        masked=masked,
        is_private=lambda path: path.partition(".")[0] in PRIVATE,
        entered=entered,
        problem=problem,
    )


def _corrected(conversion: Conversion, fields: Mapping[str, str]) -> Conversion:
    """Return *conversion* with the fields that the form changes.

    A private field that is left empty stays unchanged, because the form does not show its value; a
    checkbox removes the value.

    Raises:
        InvalidConversionError: a new value is not valid.
    """
    record = to_dict(conversion)
    for path in FIELDS:
        value, is_private = fields.get(path, "").strip(), path.partition(".")[0] in PRIVATE
        if fields.get(f"remove:{path}") or (path in fields and not value and not is_private):
            _set(record, path, None)
        elif value:
            _set(record, path, value)
    return to_conversion(record | {"event_id": conversion.event_id})


def _set(record: dict[str, Any], path: str, value: str | None) -> None:
    name, _, key = path.partition(".")
    target = record
    if key:
        target = record[name] = dict(record.get(name) or {})
        name = key
    if value is None:
        target.pop(name, None)
    else:
        target[name] = value
