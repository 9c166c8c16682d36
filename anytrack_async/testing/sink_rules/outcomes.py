"""Rules about limits and outcomes: one for each conversion, in order, and repeats do no harm."""

# ruff: noqa: D102, S101

from __future__ import annotations

import anyio
import pytest

from anytrack_async.destinations.sink import BatchRejected, SinkLimits
from anytrack_async.models.outcome import Status
from anytrack_async.outbox.checks import check_destination
from anytrack_async.testing.sink_rules.base import Attempt, SinkHooks, attempt, close

_LARGEST_BATCH = 1_000


class OutcomeRules(SinkHooks):
    """Rules about limits, outcomes and the sent requests."""

    async def test_name_and_limits_are_stated_and_stay_the_same(self) -> None:
        async with self.opened() as (sink, _):
            name, limits = sink.name, sink.limits
            assert check_destination(name) == name
            assert isinstance(limits, SinkLimits)
            await attempt(sink, self.batch(1))
            assert (sink.name, sink.limits) == (name, limits)

    @pytest.mark.parametrize("size", [1, 2, 5])
    async def test_each_conversion_has_an_outcome(self, size: int) -> None:
        async with self.opened() as (sink, service):
            batch = self.batch(min(size, sink.limits.batch))
            result = await attempt(sink, batch)

        assert result.statuses == [Status.DELIVERED] * len(batch), result.said
        sent = "\n".join(request.text for request in service.requests)
        assert [key for key in map(self.key, batch) if key not in sent] == []

    async def test_a_full_batch_is_delivered(self) -> None:
        async with self.opened() as (sink, _):
            batch = self.batch(min(sink.limits.batch, _LARGEST_BATCH))
            result = await attempt(sink, batch)

        assert result.statuses == [Status.DELIVERED] * len(batch), result.said

    async def test_the_same_batch_sends_the_same_requests_and_changes_nothing(self) -> None:
        sent = []
        for _ in range(2):
            async with self.opened() as (sink, service):
                batch = self.batch(min(3, sink.limits.batch))
                before = [conversion.to_dict() for conversion in batch]
                await attempt(sink, batch)
                assert [conversion.to_dict() for conversion in batch] == before
                sent.append(sorted((item.path, item.content) for item in service.requests))

        assert sent[0] == sent[1], "a repeat must be recognisable as one"

    async def test_a_repeat_of_a_delivered_batch_is_delivered(self) -> None:
        async with self.opened() as (sink, _):
            batch = self.batch(min(2, sink.limits.batch))
            await attempt(sink, batch)
            again = await attempt(sink, batch)

        assert again.statuses == [Status.DELIVERED] * len(batch), again.said

    # Refused conversions

    @pytest.mark.parametrize("index", [0, 1, 2])
    async def test_a_refused_conversion_is_named_and_harms_no_other(self, index: int) -> None:
        self.skip_unless_refusing()
        batch = self.batch(3)
        async with self.opened(self.refusing(batch[index])) as (sink, _):
            if sink.limits.batch < len(batch):
                pytest.skip("a batch of this sink is smaller")
            result = await attempt(sink, batch)

        others = [status for i, status in enumerate(result.statuses) if i != index]
        assert Status.REJECTED not in others, result.said
        if isinstance(result.signal, BatchRejected):  # the lane finds out which it is
            assert result.statuses[index] in (None, Status.REJECTED)
        else:
            assert result.statuses[index] is Status.REJECTED, result.said
            assert result.signal is not None or set(others) == {Status.DELIVERED}

    async def test_a_refused_conversion_alone_is_rejected_with_a_reason(self) -> None:
        self.skip_unless_refusing()
        (refused,) = self.batch(1)
        async with self.opened(self.refusing(refused)) as (sink, _):
            result = await attempt(sink, [refused])

        assert _is_rejected(result), result.said

    async def test_after_a_refusal_others_are_delivered(self) -> None:
        self.skip_unless_refusing()
        refused, other = self.batch(2)
        async with self.opened(self.refusing(refused)) as (sink, _):
            await attempt(sink, [refused])
            result = await attempt(sink, [other])

        assert result.statuses == [Status.DELIVERED], result.said

    async def test_calls_at_the_same_time_keep_their_outcomes_apart(self) -> None:
        results: dict[int, Attempt] = {}

        async with self.opened() as (sink, service):
            size = min(2, sink.limits.batch)
            batches = {
                number: self.batch(size, first=10 * number)
                for number in range(min(4, sink.limits.concurrency))
            }
            service.answer = self.refusing(batches[0][0])

            async def run(number: int) -> None:
                results[number] = await attempt(sink, batches[number])

            async with anyio.create_task_group() as tg:
                for number in batches:
                    tg.start_soon(run, number)

        for number in [*batches][1:]:
            assert results[number].statuses == [Status.DELIVERED] * size, results[number].said

    async def test_closing_twice_does_no_harm(self) -> None:
        async with self.opened() as (sink, _):
            await attempt(sink, self.batch(1))
            await close(sink)
            await close(sink)


def _is_rejected(result: Attempt) -> bool:
    return isinstance(result.signal, BatchRejected) or result.statuses == [Status.REJECTED]
