"""The steps of a batch (contacts, deals, links), and the confirmed steps, which are not repeated.

If three requests of a batch each fail in 60 % of the cases, all three succeed in 6 % of the
attempts. So a confirmed step is remembered, and a batch does only the remaining steps.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, TypeVar

import anyio
import orjson

from anytrack_async.destinations.hubspot.batch_results import (
    BatchResult,
)
from anytrack_async.destinations.hubspot.problem import HubSpotError, ProblemKind
from anytrack_async.settings.http import Retry

_T = TypeVar("_T")

_Input = Mapping[str, Any]

_MOST_INPUTS = 20_000
"""Confirmed inputs that are remembered at most, about 3 MB. Beyond that, the oldest are forgotten,
and sent once more."""

_REPEAT_WITHIN = 10.0
"""Seconds since the beginning of a batch after which no request is repeated."""

_REPEATS = Retry(attempts=4, base=0.2, cap=2.0)


class ConfirmedInputs:
    """Inputs that HubSpot has written, of conversions that are not delivered yet, with record ids.

    An input is known by a digest of its content, so that a changed one is sent.

    Args:
        limit: how many are remembered.
    """

    def __init__(self, limit: int = _MOST_INPUTS) -> None:
        self._limit = limit
        self._record_ids: OrderedDict[bytes, str] = OrderedDict()

    def __len__(self) -> int:
        return len(self._record_ids)

    def find(self, inputs: Iterable[_Input]) -> dict[str, str]:
        """Return trace id → record id of the inputs that are known."""
        if not self._record_ids:
            return {}
        record_ids = {
            item["objectWriteTraceId"]: self._record_ids.get(_digest(item)) for item in inputs
        }
        return {trace_id: id_ for trace_id, id_ in record_ids.items() if id_ is not None}

    def remember(self, inputs: Iterable[_Input], record_ids: Mapping[str, str]) -> None:
        """Remember the *inputs* with a record id in *record_ids*, trace id → record id."""
        for item in inputs:
            if (record_id := record_ids.get(item["objectWriteTraceId"])) is not None:
                self._record_ids[_digest(item)] = record_id
        while len(self._record_ids) > self._limit:
            self._record_ids.popitem(last=False)

    def forget(self, inputs: Iterable[_Input]) -> None:
        """Forget *inputs*: their conversions are delivered, or must be written anew."""
        if self._record_ids:
            for item in inputs:
                self._record_ids.pop(_digest(item), None)


def _digest(item: _Input) -> bytes:
    return blake2b(orjson.dumps(item, option=orjson.OPT_SORT_KEYS), digest_size=16).digest()


class Steps:
    """The steps of one batch.

    Attributes:
        record_ids: trace id → id of each record that was written, in this batch or before.
        reused: trace ids of the inputs that were confirmed before, and not sent again.
    """

    # HubSpot writes the contacts, then fails. Since it has just worked, the deals are sent again
    # after up to 0.2, 0.4 and 0.8 s. If they fail four times, the batch fails, the contacts are
    # remembered, and the next attempt begins with the deals.

    def __init__(self, confirmed: ConfirmedInputs) -> None:
        self.record_ids: dict[str, dict[str, str]] = {}
        self.reused: set[str] = set()
        self._confirmed = confirmed
        self._ends_at = anyio.current_time() + _REPEAT_WITHIN
        self._has_progressed = False

    async def upsert(
        self,
        object_type: str,
        inputs: Sequence[dict[str, Any]],
        send: Callable[[str, Sequence[dict[str, Any]]], Awaitable[BatchResult]],
    ) -> BatchResult:
        """Write the *inputs* that are not confirmed yet; return the result of all inputs.

        Raises:
            HubSpotError: no record was written.
        """
        confirmed = self._confirmed.find(inputs)
        pending = [item for item in inputs if item["objectWriteTraceId"] not in confirmed]
        result = BatchResult()
        if pending:
            result = await self.run(lambda: send(object_type, pending))
        self.reused |= confirmed.keys()
        result.record_ids |= confirmed
        self.record_ids[object_type] = result.record_ids
        return result

    async def run(self, send: Callable[[], Awaitable[_T]]) -> _T:
        """Call *send*, again if HubSpot fails that has just worked; return its result.

        Raises:
            HubSpotError: the last failure.
        """
        attempt = 1
        while True:
            try:
                result = await send()
            except HubSpotError as exc:
                wait = self._repeat_in(attempt, exc)
                if wait is None:
                    raise
                await anyio.sleep(wait)
                attempt += 1
            else:
                self._has_progressed = True
                return result

    def _repeat_in(self, attempt: int, error: HubSpotError) -> float | None:
        problem = error.problem
        if not self._has_progressed or problem.kind is not ProblemKind.UNAVAILABLE:
            return None
        wait = _REPEATS.next_wait(attempt, problem.retry_after)
        if wait is None or anyio.current_time() + wait > self._ends_at:
            return None
        return wait

    def end(
        self, object_type: str, unfinished: Collection[_Input], finished: Collection[_Input]
    ) -> None:
        """Remember the *unfinished* inputs that were written, and forget the *finished* ones."""
        self._confirmed.forget(finished)
        self._confirmed.remember(unfinished, self.record_ids.get(object_type, {}))
