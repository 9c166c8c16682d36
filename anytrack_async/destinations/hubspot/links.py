"""Links deals with contacts, and reads which links HubSpot refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import attrs

from anytrack_async.destinations.hubspot.batch_results import (
    UNACCOUNTED,
)
from anytrack_async.destinations.hubspot.portal import Portal
from anytrack_async.destinations.hubspot.problem import (
    HubSpotError,
    Problem,
    ProblemKind,
    context_values,
    objects_in,
)
from anytrack_async.destinations.hubspot.responses import (
    is_page,
    json_or_none,
    read_item_error,
)
from anytrack_async.destinations.responses import confirms_without_body

Link: TypeAlias = tuple[str, str]
"""Ids of a deal and its contact."""

PERMANENT_FOR_LINKS = (ProblemKind.REJECTED, ProblemKind.INCONCLUSIVE)
"""HubSpot accepted the deal, so an inconclusive refusal of its contact or link is about these."""


async def link(portal: Portal, links: Sequence[Link]) -> dict[Link, Problem]:
    """Link up to 100 deals with their contacts and return the problems; repeating is harmless.

    Raises:
        HubSpotError: no link was made, and HubSpot names no link as the reason.

    Source: HubSpot, CRM API, associations, "Create default associations".
    """
    unique = list(dict.fromkeys(links))
    inputs = [{"from": {"id": deal}, "to": {"id": contact}} for deal, contact in unique]
    try:
        response = await portal.write(portal.paths.associate, inputs, counted=False)
        if confirms_without_body(response):
            portal.confirmations.report_response(response)
            return {}
        return link_problems(unique, portal.read_batch_response(response))
    except HubSpotError as exc:
        return _failed_links(unique, exc)


def link_problems(links: Sequence[Link], body: Any) -> dict[Link, Problem]:
    """Return the problem of each link that is missing from the results in a 2xx *body*.

    An error belongs to each link with an id that it names. An error that names no id belongs to the
    only missing link; if several links are missing, they are sent again.
    """
    linked = _linked_pairs(objects_in(body, "results"))
    pending = [pair for pair in links if pair not in linked]
    problems, unattributed = _attribute(pending, objects_in(body, "errors"))
    missing = [pair for pair in pending if pair not in problems]
    if len(missing) == 1 and unattributed:
        problems[missing[0]] = unattributed[0]
    else:
        problems |= dict.fromkeys(missing, _LINK_UNACCOUNTED)
    exists = ProblemKind.EXISTS
    return {pair: problem for pair, problem in problems.items() if problem.kind is not exists}


CONTACT_WITHOUT_ID = Problem(
    kind=ProblemKind.REJECTED, message="HubSpot confirmed the contact without its id"
)
_LINK_UNACCOUNTED = Problem(
    kind=ProblemKind.RETRY_LATER,
    code=UNACCOUNTED,
    message=(
        "the deal was written, but its link to the contact is in neither the results nor the "
        "errors of HubSpot's response"
    ),
)


def _failed_links(links: Sequence[Link], error: HubSpotError) -> dict[Link, Problem]:
    """Return the problem of each link after a failed request, or raise *error*."""
    problem = error.problem
    if is_page(problem.status or 0, error.content):
        # The request has ids only, so no firewall refuses it for the content of a conversion.
        raise HubSpotError(attrs.evolve(problem, kind=ProblemKind.UNAVAILABLE)) from error
    if problem.code == "OBJECT_NOT_FOUND":  # the contact was deleted meanwhile
        problem = attrs.evolve(problem, kind=ProblemKind.REJECTED, advice="")
    if problem.kind is ProblemKind.EXISTS:
        return {}
    rejected = problem.kind in PERMANENT_FOR_LINKS
    if problem.kind is ProblemKind.RETRY_LATER or (rejected and len(links) == 1):
        return dict.fromkeys(links, problem)
    if rejected:
        failed, _ = _attribute(links, objects_in(json_or_none(error.content), "errors"))
        if failed:
            # A request with one bad link makes no link: the good links are sent again.
            return dict.fromkeys(links, _LINK_UNACCOUNTED) | failed
    raise error


def _attribute(
    links: Sequence[Link], errors: Iterable[Mapping[str, Any]]
) -> tuple[dict[Link, Problem], list[Problem]]:
    """Return link → problem for the links that *errors* name, and the errors that name no link."""
    problems: dict[Link, Problem] = {}
    unattributed = []
    for error in errors:
        problem, failed = read_item_error(error), _named_links(links, error)
        problems |= dict.fromkeys(failed, problem)
        if not failed:
            unattributed.append(problem)
    return problems, unattributed


def _linked_pairs(results: Iterable[Mapping[str, Any]]) -> set[Link]:
    """Return the pairs of all results in both directions.

    HubSpot stores a default link as two, one in each direction, and may return either.
    """
    pairs = [
        (_id(result, "from", "fromObjectId"), _id(result, "to", "toObjectId")) for result in results
    ]
    return {*pairs, *((target, source) for source, target in pairs)}


def _id(result: Mapping[str, Any], *names: str) -> str:
    value = next((result[name] for name in names if name in result), "")
    return str(value.get("id", "") if isinstance(value, Mapping) else value)


def _named_links(links: Sequence[Link], error: Mapping[str, Any]) -> list[Link]:
    """Return the links that *error* names by both ids; if there are none, those named by one id."""
    names = set(context_values(error, "from", "to", "fromobjectid", "toobjectid", "id", "ids"))
    exact = [pair for pair in links if names.issuperset(pair)]
    return exact or [pair for pair in links if not names.isdisjoint(pair)]
