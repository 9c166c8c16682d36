"""One claim through a sink: split where the service rejects a batch for one bad conversion."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import anyio
import attrs

from anytrack_async.destinations.sink import (
    BatchRejected,
    NeedsOperator,
    Sink,
    SinkSignal,
    Throttled,
    Unavailable,
    Unfinished,
)
from anytrack_async.errors import safe_description
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.outcome import Outcome, Status

_LONELY = 3
"""Single conversions in a row that fail before a split says that the service is down after all."""

_ANSWERS = frozenset({Status.DELIVERED, Status.RETRY, Status.REJECTED})

_WHOLE = (Throttled, NeedsOperator, Unfinished)
"""Signals that say nothing about the conversions of the batch."""

_Answer = tuple[Sequence[Outcome | None], SinkSignal | None]


@attrs.define
class Attempt:
    """One try, filled in as it goes, so that what is known survives its being cut short.

    Attributes:
        outcomes: one per conversion, in order; None where it is left open.
        signal: what stopped the try, if anything did.
        split: whether to halve the batch also where the service fails without an answer: it takes
            other batches, so something in this one breaks it.
        probe: which one to send alone before all others, which follow if the service takes or
            refuses it; None for none.
    """

    outcomes: list[Outcome | None]
    signal: SinkSignal | None = None
    split: bool = False
    probe: int | None = None

    def answered(self, *statuses: Status) -> bool:
        """Tell whether any outcome has one of *statuses*."""
        return any(one is not None and one.status in statuses for one in self.outcomes)

    def refusal(self) -> SinkSignal | None:
        """Return `Unavailable` if the answer to each of several conversions was to try again."""
        first = self.outcomes[0]
        if first is None or len(self.outcomes) == 1:
            return None
        if all(one is not None and one.status is Status.RETRY for one in self.outcomes):
            return _unavailable(first)
        return None


def _unavailable(again: Outcome) -> Unavailable:
    return Unavailable(again.error or "no reason given", code=again.code)


async def attempt(
    sink: Sink,
    batch: Sequence[Conversion],
    tried: Attempt,
    *,
    within: float,
    between: Callable[[], Awaitable[bool]],
) -> None:
    """Deliver *batch*, halving it as long as the sink raises `BatchRejected`.

    k bad ones among n cost O(k·log n) requests.

    Args:
        sink: where to.
        batch: what.
        tried: takes what comes of it.
        within: seconds for each request; a sink that needs longer is taken for a service that does
            not answer.
        between: awaited before each request but the first; False ends the try.
    """
    pieces = _Pieces(tried)
    while True:
        piece = pieces.left.pop()
        outcomes, signal = await _deliver(sink, [batch[at] for at in piece], within)
        pieces.note(piece, outcomes, signal)
        if tried.signal is not None or not pieces.left or not await between():
            return


class _Pieces:
    """The pieces of a batch that are still to be sent, the next one last."""

    def __init__(self, tried: Attempt) -> None:
        self._tried = tried
        self._lonely = 0
        everyone = range(len(tried.outcomes))
        self.left: list[Sequence[int]] = [everyone]
        if tried.probe is not None:
            others = [at for at in everyone if at != tried.probe]
            self.left = [others, [tried.probe]] if others else [everyone]

    def note(
        self, piece: Sequence[int], outcomes: Sequence[Outcome | None], signal: SinkSignal | None
    ) -> None:
        for at, outcome in zip(piece, outcomes, strict=True):
            self._tried.outcomes[at] = outcome
        if signal is None:
            self._lonely = 0
            self._doubt(piece)
        elif not self._splits(signal):
            self._tried.signal = signal
        else:
            self._narrow([at for at in piece if self._tried.outcomes[at] is None], signal)

    def _doubt(self, piece: Sequence[int]) -> None:
        # "Try again" is no answer that a probe could have hoped for.
        tried, at = self._tried, piece[0]
        if at == tried.probe and (again := tried.outcomes[at]) and again.status is Status.RETRY:
            tried.outcomes[at], tried.signal = None, _unavailable(again)

    def _splits(self, signal: SinkSignal) -> bool:
        if isinstance(signal, BatchRejected):
            return True
        return self._tried.split and not isinstance(signal, _WHOLE)

    def _narrow(self, left: Sequence[int], signal: SinkSignal) -> None:
        if len(left) > 1:
            middle = len(left) // 2
            self.left += [left[middle:], left[:middle]]
        elif left and isinstance(signal, BatchRejected):
            self._lonely = 0
            self._tried.outcomes[left[0]] = Outcome.rejected(signal.reason, code=signal.code)
        elif left:
            self._suspect(left[0], signal)

    def _suspect(self, at: int, signal: SinkSignal) -> None:
        self._lonely += 1
        if self._lonely == _LONELY:
            self._tried.signal = signal
        else:
            self._tried.outcomes[at] = Outcome.retry(signal.reason, code=signal.code)


async def _deliver(sink: Sink, batch: Sequence[Conversion], within: float) -> _Answer:
    nothing: list[Outcome | None] = [None] * len(batch)
    answer: _Answer | None = None

    async def ask() -> None:
        nonlocal answer
        answer = await _ask(sink, batch, nothing)

    with anyio.move_on_after(within) as limit:
        # A task of its own, so that a sink that lets a cancellation out does not end the worker.
        async with anyio.create_task_group() as tg:
            tg.start_soon(ask)
    if answer is not None:
        return answer
    late = f"no answer within {within:g} s"
    why = late if limit.cancelled_caught else f"sink {sink.name!r} cancelled itself"
    return nothing, Unavailable(why)


async def _ask(
    sink: Sink, batch: Sequence[Conversion], nothing: Sequence[Outcome | None]
) -> _Answer:
    try:
        outcomes = await sink.deliver(batch)
    except SinkSignal as signal:
        some = signal.outcomes
        return (some if _fits(some, batch, may_lack=True) else nothing), signal
    except Exception as exc:  # a sink may be anybody's
        return nothing, Unavailable(safe_description(exc))
    if not _fits(outcomes, batch):
        return nothing, Unavailable(
            f"sink {sink.name!r} did not answer one outcome for each of {len(batch)} conversions"
        )
    return outcomes, None


def _fits(outcomes: object, batch: Sequence[Conversion], *, may_lack: bool = False) -> bool:
    if not isinstance(outcomes, Sequence) or len(outcomes) != len(batch):
        return False
    return all(
        one.status in _ANSWERS if isinstance(one, Outcome) else may_lack and one is None
        for one in outcomes
    )
