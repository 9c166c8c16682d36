"""The page of dead letters and retries: grouped by reason, filtered, selected."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import attrs
from starlette.requests import Request
from starlette.responses import Response

from anytrack_async.models.contradiction import summary
from anytrack_async.outbox.base import Depth, Outbox
from anytrack_async.outbox.dead_letters import DeadLetter
from anytrack_async.web_console.pages import Context, position
from anytrack_async.web_console.selection import AGES, PAGE_SIZE, LetterSelection

_GROUPED = 500
"""Dead letters that are grouped by reason: more would make the page slow."""

_NUMBER = re.compile(r"\d+")


@attrs.define(kw_only=True)
class Group:
    """Dead letters with the same reason.

    Attributes:
        destination: their destination.
        code: its error code.
        error: the reason of the first.
        sample: event id of the first.
        number: how many of those that were looked at.
    """

    destination: str
    code: str | None
    error: str
    sample: str
    number: int = 0


def group(letters: Sequence[DeadLetter]) -> Sequence[Group]:
    """Return *letters* by destination, code and reason, the largest group first.

    Numbers in a reason do not matter: "event 17 is too old" and "event 4 is too old" are alike.
    """
    groups: dict[tuple[str, str | None, str], Group] = {}
    for letter in letters:
        key = (letter.destination, letter.code, _NUMBER.sub("#", letter.error))
        if key not in groups:
            groups[key] = Group(
                destination=letter.destination,
                code=letter.code,
                error=letter.error,
                sample=letter.event_id,
            )
        groups[key].number += 1
    return sorted(groups.values(), key=lambda item: (-item.number, item.destination))


async def dead_letters(context: Context, request: Request) -> Response:
    """Return the page."""
    selection = LetterSelection.from_fields(request.query_params)
    after = position(request.query_params.get("after", ""))
    outbox = await context.source.outbox()
    depths = await outbox.depths()
    # One read for the groups and the first rows; further pages have rows only. With a condition, a
    # large sample would take long: of a code that every fortieth has, 500 are among 20,000.
    size = PAGE_SIZE if after or selection.condition else _GROUPED
    page = await selection.read(outbox, after=after, limit=size + 1)
    letters = page.letters
    rows = _whole_conversions(letters, PAGE_SIZE)
    following = rows[-1].seq if len(letters) > len(rows) else None
    return await context.page(
        request,
        "dead_letters.html",
        selection=selection,
        job=context.jobs.running or context.jobs.get(position(request.query_params.get("job", ""))),
        ages=AGES,
        depths=depths,
        groups=[] if after else group(letters[:size]),
        is_sample=len(letters) > size,
        grouped=size,
        letters=rows,
        following=following,
        search_on=page.after if following is None and selection.condition else None,
        after=after,
        summary=summary,
        total=sum(depth.dead for depth in depths.values()),
        retrying=_retrying(depths),
        reasons=await _retry_reasons(context, outbox),
    )


def _retrying(depths: Mapping[str, Depth]) -> dict[str, int]:
    return {name: depth.retrying for name, depth in depths.items() if depth.retrying}


def _whole_conversions(letters: Sequence[DeadLetter], size: int) -> Sequence[DeadLetter]:
    """Return the first *size*, and all of the last one's conversion: pages continue after it."""
    end = size
    while 0 < end < len(letters) and letters[end].seq == letters[end - 1].seq:
        end += 1
    return letters[:end]


async def _retry_reasons(context: Context, outbox: Outbox) -> dict[str, str]:
    """Return destination → why its lane is not running, in the destination's words."""
    lanes = await context.source.lanes()
    return {name: lane.reason for name, lane in lanes.items() if lane.reason}
