"""Create or update one batch of records, and say what became of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from anytrack_async.destinations.hubspot.batch_result import (
    Accounts,
    account,
    blamed,
    json_of,
    without_values,
)
from anytrack_async.destinations.hubspot.portal import Portal, decoded
from anytrack_async.destinations.hubspot.problem import Problem
from anytrack_async.destinations.hubspot.signals import Refused

Inputs = Sequence[dict[str, Any]]


async def upsert(portal: Portal, kind: str, inputs: Inputs) -> Accounts:
    """Create or update up to 100 records of *kind*, with different ids and trace ids.

    Raises:
        Refused: HubSpot took none, and the reason is not one input's.
    """
    refused: dict[str, Problem] = {}
    while inputs:
        try:
            response = await portal.write(portal.paths.upsert(kind), inputs)
            accounts = account(inputs, decoded(response))
        except Refused as exc:
            refused |= _blamed(inputs, exc)
            # Nothing was written because of these: send the others without them.
            inputs = [one for one in inputs if one["objectWriteTraceId"] not in refused]
        else:
            return attrs.evolve(accounts, problems=accounts.problems | refused)
    return Accounts(problems=refused)


def _blamed(inputs: Inputs, exc: Refused) -> dict[str, Problem]:
    found = blamed(inputs, exc.problem, json_of(exc.content))
    if found:
        return found
    raise Refused(without_values(inputs, exc.problem), exc.content) from exc
