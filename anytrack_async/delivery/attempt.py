"""One claim through a sink: split where the service rejects a batch for one bad conversion."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from traceback import extract_tb

import attrs

from anytrack_async.models import Conversion, Outcome
from anytrack_async.sinks.base import BatchRejected, Sink, SinkSignal, Unavailable


@attrs.define
class Attempt:
    """What came of one try.

    Attributes:
        outcomes: one per conversion, in order; None where *signal* left it open.
        signal: what stopped the try, if anything did.
    """

    outcomes: list[Outcome | None]
    signal: SinkSignal | None = None


async def attempt(
    sink: Sink,
    batch: Sequence[Conversion],
    *,
    split_unavailable: bool = False,
    between: Callable[[], Awaitable[object]],
) -> Attempt:
    """Deliver *batch*, halving it as long as the sink raises `BatchRejected`.

    k bad ones among n cost O(k·log n) requests.

    Args:
        sink: where to.
        batch: what.
        split_unavailable: halve also where the service fails without an answer: it takes other
            batches, so something in this one breaks it.
        between: awaited before each request but the first.
    """
    done = Attempt([None] * len(batch))
    pieces = [range(len(batch))]
    while pieces and done.signal is None:
        piece = pieces.pop()
        outcomes, signal = await _deliver(sink, [batch[at] for at in piece])
        if _splits(signal, split_unavailable) and len(piece) > 1:
            middle = len(piece) // 2
            pieces += [piece[middle:], piece[:middle]]
            await between()
            continue
        if isinstance(signal, BatchRejected):
            outcomes, signal = [Outcome.rejected(signal.reason, code=signal.code)], None
        done.outcomes[piece.start : piece.stop] = outcomes
        done.signal = signal
    return done


def _splits(signal: SinkSignal | None, split_unavailable: bool) -> bool:
    kinds = (BatchRejected, Unavailable) if split_unavailable else BatchRejected
    return isinstance(signal, kinds) and not any(signal.outcomes)


async def _deliver(
    sink: Sink, batch: Sequence[Conversion]
) -> tuple[Sequence[Outcome | None], SinkSignal | None]:
    nothing: list[Outcome | None] = [None] * len(batch)
    try:
        outcomes = await sink.deliver(batch)
    except SinkSignal as signal:
        return signal.outcomes or nothing, signal
    except Exception as exc:  # a sink may be anybody's
        return nothing, Unavailable(_whereabouts(exc))
    if len(outcomes) != len(batch):
        fault = f"sink {sink.name!r} answered {len(outcomes)} outcomes for {len(batch)} conversions"
        return nothing, Unavailable(fault)
    return outcomes, None


def _whereabouts(exc: Exception) -> str:
    # Its text may quote a customer or a token; where it was raised cannot.
    last = extract_tb(exc.__traceback__)[-1]
    return f"{type(exc).__name__} in {last.name}, line {last.lineno}"
