"""Link deals with their contacts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import attrs

from anytrack_async.destinations.hubspot.batch_result import UNACCOUNTED, json_of
from anytrack_async.destinations.hubspot.classify import read_item
from anytrack_async.destinations.hubspot.portal import Portal, decoded
from anytrack_async.destinations.hubspot.problem import Act, Problem, context_values, items
from anytrack_async.destinations.hubspot.signals import Refused

Link: TypeAlias = tuple[str, str]
"""Ids of a deal and its contact."""

_NAMES = ("from", "to", "fromobjectid", "toobjectid", "id", "ids")


async def link(portal: Portal, links: Sequence[Link]) -> dict[Link, Problem]:
    """Link up to 100 deals with their contacts and return the problems; repeating is harmless.

    Raises:
        Refused: HubSpot linked none, and the reason is not one link's.

    Source: HubSpot, CRM API, associations, "Create default associations".
    """
    wanted = list(dict.fromkeys(links))
    inputs = [{"from": {"id": deal}, "to": {"id": contact}} for deal, contact in wanted]
    try:
        response = await portal.write(portal.paths.associate, inputs, free=True)
        return missing_links(wanted, decoded(response))
    except Refused as exc:
        return _blamed(wanted, exc)


def missing_links(wanted: Sequence[Link], body: Any) -> dict[Link, Problem]:
    """Return the problem of each link that *body*, a 2xx response, does not show as made."""
    made = {pair for result in items(body, "results") for pair in _pairs(result)}
    open_links = [one for one in wanted if one not in made]
    problems: dict[Link, Problem] = {}
    strays = []
    for error in items(body, "errors"):
        problem, named = read_item(error), _named(open_links, error)
        problems |= dict.fromkeys(named, problem)
        strays += [] if named else [problem]
    lost = [one for one in open_links if one not in problems]
    problems |= dict.fromkeys(lost, strays[0] if strays and len(lost) == 1 else _LOST)
    return {one: problem for one, problem in problems.items() if problem.act is not Act.EXISTS}


_LOST = Problem(
    act=Act.LATER,
    code=UNACCOUNTED,
    message=(
        "the deal is there, but HubSpot's response does not account for its link to the contact: "
        "it is neither in the results nor in the errors"
    ),
)


def _pairs(result: Mapping[str, Any]) -> Iterator[Link]:
    """Yield the link of one result; a default link comes as two results, one each way."""
    one, other = (_id(result, *names) for names in (("from", "fromObjectId"), ("to", "toObjectId")))
    yield one, other
    yield other, one


def _id(result: Mapping[str, Any], *names: str) -> str:
    value = next((result[name] for name in names if name in result), "")
    return str(value.get("id", "") if isinstance(value, Mapping) else value)


def _named(links: Sequence[Link], error: Mapping[str, Any]) -> list[Link]:
    names = set(context_values(error, *_NAMES))
    exact = [one for one in links if names.issuperset(one)]
    return exact or [one for one in links if not names.isdisjoint(one)]


def _blamed(wanted: Sequence[Link], exc: Refused) -> dict[Link, Problem]:
    problem = exc.problem
    if problem.code == "OBJECT_NOT_FOUND":  # a contact that was deleted meanwhile
        problem = attrs.evolve(problem, act=Act.REJECT)
    if problem.act is Act.EXISTS:
        return {}
    if problem.act is Act.LATER or (problem.act is Act.REJECT and len(wanted) == 1):
        return dict.fromkeys(wanted, problem)
    if problem.act is Act.REJECT:
        named: dict[Link, Problem] = {}
        for error in items(json_of(exc.content), "errors"):
            named |= dict.fromkeys(_named(wanted, error), read_item(error))
        if named:  # none was linked: the others go again
            return dict.fromkeys(wanted, _LOST) | named
    raise exc
