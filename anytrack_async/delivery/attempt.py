"""`Attempt`: one batch through a sink, split where one bad conversion makes the whole batch fail.

A batch is sent whole. Where the service rejects it without saying which conversion is bad, it is
halved, and the halves are sent one after the other, until the bad conversion stands alone. With k
bad conversions among n that takes O(k·log n) requests: 1 among 1,000 takes about 21, as each of ten
levels sends two halves.

A conversion that was refused alone is rejected if the service says that the conversion is at fault.
Otherwise it is only suspect, because the service may refuse every conversion at the moment.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TypeAlias

import anyio

from anytrack_async.descriptions import safe_description
from anytrack_async.destinations.sink import (
    BatchRejected,
    Inconclusive,
    NeedsOperator,
    Sink,
    SinkSignal,
    Throttled,
    Unavailable,
    Unfinished,
)
from anytrack_async.models.consent import FORGOTTEN
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.outcome import Outcome, Status

_MAX_SINGLE_FAILURES = 3
"""Consecutive one-conversion failures after which a split concludes that the service is down."""

_SINK_STATUSES = frozenset({Status.DELIVERED, Status.RETRY, Status.REJECTED, Status.SKIPPED})

_WHOLE_BATCH_SIGNALS = (Throttled, NeedsOperator, Unfinished)
"""Signals about the service or the time, not about a conversion: splitting would not help."""

_Result: TypeAlias = tuple[Sequence[Outcome | None], SinkSignal | None]
"""An outcome for each conversion, None where there is none; and the signal that the sink raised."""


class Attempt:
    """One batch on its way through a sink, one request after the other.

    Call `send_next` until it returns False. The attributes hold the results so far, also when the
    attempt is cut short by cancellation.

    Args:
        sink: the destination's sink.
        batch: the conversions.
        timeout: seconds for each call of the sink; one that takes longer counts as unavailable.
        probe_index: a conversion to send alone first. The others follow if the service accepts or
            rejects it; otherwise the attempt ends.
        split_failures: whether to halve the batch also when the service is unavailable. For a
            service that accepts other batches: probably a conversion in this one makes it fail.
        skipped: indexes of conversions that are not sent, because they have no attempt left.

    Attributes:
        outcomes: one per conversion, in order; None where there is none yet.
        signal: the signal that ended the attempt early, if one did.
        probe_index: see above.
        split_failures: see above.
    """

    def __init__(
        self,
        sink: Sink,
        batch: Sequence[Conversion],
        *,
        timeout: float,
        probe_index: int | None = None,
        split_failures: bool = False,
        skipped: Collection[int] = (),
    ) -> None:
        self.outcomes: list[Outcome | None] = [None] * len(batch)
        self.signal: SinkSignal | None = None
        self.probe_index = probe_index
        self.split_failures = split_failures
        self._sink = sink
        self._batch = batch
        self._timeout = timeout
        self._single_failures = 0
        self._suspects: dict[int, list[Inconclusive]] = {}  # index → refusals
        self._control: Sequence[int] = ()
        if forgotten := forgotten_indexes(batch):
            skipped = {*skipped, *forgotten}
            self._skip_forgotten(forgotten, skipped)
        # Indexes still to be sent, the next piece last.
        self._pieces: list[Sequence[int]] = [range(len(batch))]
        if skipped or (probe_index is not None and len(batch) > 1):
            self._pieces = self._pieces_without(skipped)

    def _skip_forgotten(self, forgotten: Sequence[int], skipped: Collection[int]) -> None:
        """Skip conversions of forgotten customers, and choose another probe if it is one of them.

        Args:
            forgotten: the indexes of these conversions.
            skipped: the indexes of all conversions that are not sent.
        """
        for index in forgotten:
            self.outcomes[index] = Outcome.skipped(FORGOTTEN)
        if self.probe_index in skipped:
            sent = (index for index in range(len(self._batch)) if index not in skipped)
            self.probe_index = next(sent, None)

    def _pieces_without(self, skipped: Collection[int]) -> list[Sequence[int]]:
        """Return the indexes to send: the probe alone, and before it in the list all others.

        Of 5 conversions with 2 as the probe and 4 skipped: ``[[0, 1, 3], [2]]``.
        """
        apart = {self.probe_index, *skipped}
        remaining = [index for index in range(len(self._batch)) if index not in apart]
        probe = [] if self.probe_index is None else [self.probe_index]
        return [piece for piece in (remaining, probe) if piece]

    async def send_next(self) -> bool:
        """Send the next piece, if there is one; return whether another one is to be sent."""
        if not self._pieces:
            return False
        piece = self._pieces.pop()
        conversions = [self._batch[index] for index in piece]
        outcomes, signal = await _deliver(self._sink, conversions, self._timeout)
        if piece is self._control:
            self._read_control(outcomes[0], signal)
        else:
            self._read(piece, outcomes, signal)
        if self._suspects and self.signal is None and not self._pieces:
            self._check_suspects()
        return self.signal is None and bool(self._pieces)

    @property
    def all_delivered(self) -> bool:
        """Whether all conversions have the same outcome, and that they are delivered."""
        first = self.outcomes[0]
        is_one_object = len({*map(id, self.outcomes)}) == 1  # as sinks do that have no remote ids
        return is_one_object and first is not None and first.status is Status.DELIVERED

    def has_outcome(self, status: Status) -> bool:
        """Return whether any outcome has *status*."""
        return any(outcome and outcome.status == status for outcome in self.outcomes)

    def failure(self) -> SinkSignal | None:
        """Return why the batch failed as a whole, None if it did not.

        A service that asks to retry each of several conversions is unavailable.
        """
        first = self.outcomes[0]
        if self.signal is not None or first is None or len(self.outcomes) == 1:
            return self.signal
        if all(outcome and outcome.status is Status.RETRY for outcome in self.outcomes):
            return _unavailable(first)
        return None

    def _read(
        self, piece: Sequence[int], outcomes: Sequence[Outcome | None], signal: SinkSignal | None
    ) -> None:
        for index, outcome in zip(piece, outcomes, strict=True):
            self.outcomes[index] = outcome
        if signal is None:
            self._single_failures = 0
            self._reject_inconclusive_probe(piece)
        elif self._may_split(piece, signal):
            self._bisect([index for index in piece if self.outcomes[index] is None], signal)
        else:
            self.signal = signal

    def _reject_inconclusive_probe(self, piece: Sequence[int]) -> None:
        # "Retry later" neither accepts nor rejects the probe: the service may still be down.
        index = piece[0]
        outcome = self.outcomes[index]
        if index == self.probe_index and outcome and outcome.status is Status.RETRY:
            self.outcomes[index], self.signal = None, _unavailable(outcome)

    def _may_split(self, piece: Sequence[int], signal: SinkSignal) -> bool:
        if isinstance(signal, BatchRejected):
            return True
        if isinstance(signal, Inconclusive):
            return piece[0] != self.probe_index
        return self.split_failures and not isinstance(signal, _WHOLE_BATCH_SIGNALS)

    def _bisect(self, indexes: Sequence[int], signal: SinkSignal) -> None:
        # A batch of 8 in which conversion 5 is bad takes 7 requests:
        #   0 1 2 3 4 5 6 7  rejected    4 5  rejected
        #   0 1 2 3          delivered   4    delivered
        #   4 5 6 7          rejected    5    rejected: the outcome of conversion 5
        #                                6 7  delivered
        if len(indexes) > 1:
            middle = len(indexes) // 2
            self._pieces += [indexes[middle:], indexes[:middle]]
        elif indexes and isinstance(signal, BatchRejected):
            self._single_failures = 0
            self.outcomes[indexes[0]] = _rejected(signal)
        elif indexes and isinstance(signal, Inconclusive):
            self._suspect(indexes[0], signal)
        elif indexes:
            self._retry_single(indexes[0], signal)

    def _retry_single(self, index: int, signal: SinkSignal) -> None:
        # A conversion that fails alone is probably the cause. If three fail alone with no success
        # in between, the service has gone down, and none of them is the cause.
        self._single_failures += 1
        if self._single_failures == _MAX_SINGLE_FAILURES:
            self.signal = signal
        else:
            self.outcomes[index] = Outcome.retry(
                signal.reason, code=signal.code, http_status=signal.http_status
            )

    # Suspects. A suspect is at fault if it is refused twice while the service accepts others. So
    # all suspects are sent again, and at last, as a control, a conversion that was delivered:
    #   0 1 2 3  refused      2 3  delivered
    #   0 1      refused      1    refused again
    #   0        delivered    0    the control, delivered: conversion 1 is rejected
    #   1        refused
    # If the control is refused, the service now refuses everything: conversion 1 is retried.

    def _suspect(self, index: int, signal: Inconclusive) -> None:
        self._suspects.setdefault(index, []).append(signal)
        self._single_failures += 1
        if self._single_failures == _MAX_SINGLE_FAILURES:
            self._send_control(signal)

    def _check_suspects(self) -> None:
        pending = [index for index in self._suspects if self.outcomes[index] is None]
        unconfirmed = [index for index in pending if len(self._suspects[index]) == 1]
        if not pending:
            return
        if unconfirmed and self.has_outcome(Status.DELIVERED):
            self._pieces += [[index] for index in unconfirmed]
        else:
            self._send_control(self._suspects[pending[-1]][-1])

    def _send_control(self, signal: Inconclusive) -> None:
        for index, outcome in enumerate(self.outcomes):
            if outcome and outcome.status is Status.DELIVERED:
                self._control = [index]
                self._pieces.append(self._control)
                return
        self.signal = signal  # the service has accepted nothing

    def _read_control(self, outcome: Outcome | None, signal: SinkSignal | None) -> None:
        if outcome is None or outcome.status is not Status.DELIVERED:
            self.signal = signal or _unavailable(outcome or Outcome.retry("not accepted again"))
            return
        self._single_failures = 0
        for index, refusals in self._suspects.items():
            if len(refusals) > 1 and self.outcomes[index] is None:
                self.outcomes[index] = _rejected(refusals[-1])


def forgotten_indexes(batch: Sequence[Conversion]) -> Sequence[int]:
    """Return the indexes of conversions of forgotten customers: no destination gets these."""
    # One comprehension for the batch: nearly no conversion has a consent, and none is looked at
    # twice.
    return [
        index
        for index, conversion in enumerate(batch)
        if (consent := conversion.consent) is not None and consent.forgotten
    ]


def _unavailable(retry: Outcome) -> Unavailable:
    return Unavailable(
        retry.error or "no reason given", code=retry.code, http_status=retry.http_status
    )


def _rejected(signal: SinkSignal) -> Outcome:
    return Outcome.rejected(signal.reason, code=signal.code, http_status=signal.http_status)


async def _deliver(sink: Sink, batch: Sequence[Conversion], timeout: float) -> _Result:
    no_outcomes: list[Outcome | None] = [None] * len(batch)
    result: _Result | None = None

    async def call_sink() -> None:
        nonlocal result
        result = await _call_sink(sink, batch, no_outcomes)

    with anyio.move_on_after(timeout) as limit:
        # A task of its own, so that a sink that raises a cancellation does not end the worker.
        async with anyio.create_task_group() as tg:
            tg.start_soon(call_sink)
    if result is not None:
        return result
    if limit.cancelled_caught:
        return no_outcomes, Unavailable(f"sink {sink.name!r} did not finish within {timeout:g} s")
    return no_outcomes, Unavailable(f"sink {sink.name!r} cancelled itself")


async def _call_sink(
    sink: Sink, batch: Sequence[Conversion], no_outcomes: Sequence[Outcome | None]
) -> _Result:
    try:
        outcomes = await sink.deliver(batch)
    except SinkSignal as signal:
        partial = signal.outcomes
        return (partial if _is_valid(partial, batch, partly=True) else no_outcomes), signal
    except Exception as exc:
        # Sinks may be third-party code, and messages of its exceptions may quote a customer.
        return no_outcomes, Unavailable(safe_description(exc))
    if not _is_valid(outcomes, batch):
        return no_outcomes, Unavailable(
            f"sink {sink.name!r} did not return one outcome for each of {len(batch)} conversions"
        )
    return outcomes, None


def _is_valid(outcomes: object, batch: Sequence[Conversion], *, partly: bool = False) -> bool:
    if not isinstance(outcomes, Sequence) or len(outcomes) != len(batch):
        return False
    # Each object once: many sinks return the same outcome for all, or for all but a few.
    distinct = dict(zip(map(id, outcomes), outcomes, strict=True))
    return all(
        outcome.status in _SINK_STATUSES
        if isinstance(outcome, Outcome)
        else partly and outcome is None
        for outcome in distinct.values()
    )
