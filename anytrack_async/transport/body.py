"""`read_json`: an answer's JSON, without stalling the loop over a big one."""

from __future__ import annotations

import json
import re
from typing import Any

import anyio.to_thread

from anytrack_async.transport.answer import Answer

_BIG = 131_072  # bytes of JSON that take about a millisecond
_OPENING = re.compile(r'\s*\{\s*"data"\s*:\s*\[\s*')
_NEXT = re.compile(r"\s*([,\]])\s*")
_decode = json.JSONDecoder().raw_decode


async def read_json(answer: Answer) -> Any:
    """Return the JSON of *answer*; a big one is parsed in a worker thread.

    Raises:
        DecodeError: it is not JSON.
    """
    if len(answer.content) < _BIG:
        return answer.json()
    return await anyio.to_thread.run_sync(_in_pieces, answer, abandon_on_cancel=True)


def _in_pieces(answer: Answer) -> Any:
    # A parser holds the interpreter's lock until it is done, in a thread as well. So a list is
    # parsed record by record; anything else, which is rarely big, in one go.
    try:
        body = _with_list(answer.content.decode())
    except (ValueError, RecursionError):
        body = None
    return answer.json() if body is None else body


def _with_list(text: str) -> dict[str, Any] | None:
    opening = _OPENING.match(text)
    if opening is None:
        return None
    records, at, more = [], opening.end(), True
    while more:
        record, at = _decode(text, at)
        records.append(record)
        gap = _NEXT.match(text, at)
        if gap is None:
            return None
        at, more = gap.end(), gap[1] == ","
    return {"data": records, **_rest(text[at:].lstrip())}


def _rest(tail: str) -> dict[str, Any]:
    rest: dict[str, Any] = json.loads("{" + tail.removeprefix(","))
    return rest
