"""One conversion: fields, state at each destination, failed attempts, and request bodies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from anytrack_async.errors import AnyTrackError
from anytrack_async.models.answers import Attribution, Touchpoint
from anytrack_async.models.conversion import Conversion, ConversionType
from anytrack_async.models.outcome import Report
from anytrack_async.outbox.base import Outbox
from anytrack_async.web_console import history
from anytrack_async.web_console.masking import shown_fields
from anytrack_async.web_console.pages import Context, conversion_address, log_action, position
from anytrack_async.web_console.security import Refused, read_form
from anytrack_async.web_console.sinks import bodies

_LONGEST_ID = 1_024


@attrs.frozen(kw_only=True)
class Journey:
    """AnyTrack's attribution of a conversion, and its touchpoints.

    Attributes:
        attribution: the weights; None if AnyTrack did not answer.
        touchpoints: the touchpoints, earliest first.
        problem: why AnyTrack did not answer; empty if it did.
    """

    attribution: Attribution | None = None
    touchpoints: Sequence[Touchpoint] = ()
    problem: str = ""


async def conversion(context: Context, request: Request) -> Response:
    """Return the page of a conversion, at its permanent address."""
    return await _page(context, request, request.query_params.get("event_id", ""))


async def reveal(context: Context, request: Request) -> Response:
    """Return the page with the customer's data, for an admin; this is logged."""
    name = await context.check_admin(request)
    event_id = (await read_form(request)).get("event_id", "")
    page = await _page(context, request, event_id, revealed=True)
    log_action(name, "revealed the customer of", 1, "conversions", event_id=event_id)
    return page


async def _page(
    context: Context, request: Request, event_id: str, *, revealed: bool = False
) -> Response:
    outbox = await context.source.outbox()
    report = (await outbox.reports([event_id])).get(event_id) if event_id else None
    if report is None:
        raise Refused(404, "The outbox does not know this conversion, or has forgotten it.")
    letters = await outbox.dead_letters(event_ids=[event_id])
    remembered = await history.remembered(outbox, event_id)
    stored: Conversion | None = remembered.conversion if remembered else None
    if letters:
        stored = letters[0].conversion
    return await context.page(
        request,
        "conversion.html",
        event_id=event_id,
        report=report,
        letters={letter.destination: letter for letter in letters},
        conversion=stored,
        fields=shown_fields(stored, reveal=revealed) if stored else (),
        bodies=bodies(context.source, stored, reveal=revealed) if stored else {},
        revealed=revealed,
        accepted_at=remembered.accepted_at if remembered else None,
        summary=remembered.summary if remembered else None,
        delivered=await history.delivered_at(outbox, event_id),
        attempts=await history.attempts(outbox, event_id),
        keeps_history=history.kept(outbox) is not None,
        can_ask=_remote_id(report) is not None,
        journey=await _journey(context, request, report),
    )


def _remote_id(report: Report) -> str | None:
    outcome = report.outcomes.get("anytrack")
    return outcome.remote_id if outcome else None


async def _journey(context: Context, request: Request, report: Report) -> Journey | None:
    """Ask AnyTrack for attribution and touchpoints, if the address says so."""
    remote_id = _remote_id(report)
    if "journey" not in request.query_params or remote_id is None:
        return None
    try:
        async with context.source.reader() as client:
            return Journey(
                attribution=await client.calculate_attribution(remote_id),
                touchpoints=await client.get_touchpoints(remote_id),
            )
    except AnyTrackError as exc:
        return Journey(problem=str(exc))


# Finding


async def find(context: Context, request: Request) -> Response:
    """Look for a conversion by event id, order id or click id.

    The form is posted, although it changes nothing: a click id in an address would get into logs.
    """
    fields = await read_form(request)
    query, before = fields.get("q", "").strip()[:_LONGEST_ID], fields.get("before", "")
    if not query:
        return RedirectResponse("./", status_code=303)
    outbox = await context.source.outbox()
    page = await history.find(outbox, query, position(before))
    event_ids = [] if before else await _matching(outbox, query)
    event_ids = list(dict.fromkeys([*event_ids, *page.event_ids]))
    if len(event_ids) == 1:
        return _to(request, conversion_address(event_ids[0]))
    reports: Mapping[str, Report] = await outbox.reports(event_ids) if event_ids else {}
    return await context.page(
        request,
        "found.html",
        # htmx, which goes on with the search, shows no 404.
        status=200 if event_ids or page.before or before else 404,
        reports=reports,
        query=query,
        before=page.before,
        keeps_history=history.kept(outbox) is not None,
    )


def _to(request: Request, address: str) -> Response:
    if "hx-request" in request.headers:  # a redirect would be followed by the script
        return Response(headers={"hx-redirect": address})
    return RedirectResponse(address, status_code=303)


async def _matching(outbox: Outbox, query: str) -> Sequence[str]:
    """Return the event ids that are *query*, or made from it as the order id."""
    candidates = [query, *(f"{kind}:{query}" for kind in ConversionType)]
    reports = await outbox.reports(candidates)
    event_ids = [event_id for event_id in candidates if event_id in reports]
    return event_ids[:1] if query in event_ids else event_ids
