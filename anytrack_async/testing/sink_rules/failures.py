"""Rules about failures: temporary, permanent or for an operator; time-outs and cancelled calls."""

# ruff: noqa: D102, S101

from __future__ import annotations

import anyio
import pytest

from anytrack_async.destinations.sink import (
    BatchRejected,
    Inconclusive,
    NeedsOperator,
    Sink,
    Throttled,
)
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.outcome import Status
from anytrack_async.testing.sink_rules.base import Answer, Attempt, SinkHooks, attempt, close
from anytrack_async.testing.stand_in import ServiceAnswer, ServiceStandIn

_SHORT = 0.3
"""Seconds until a sink gives up a request that the service never answers."""


def answering(answer: ServiceAnswer) -> Answer:
    """Return a function that gives *answer* to every request."""
    return lambda _: answer


def assert_temporary(result: Attempt) -> None:
    """Check that a lane would send all of the batch again."""
    assert not isinstance(result.signal, BatchRejected | NeedsOperator), result.said
    allowed = {None, Status.RETRY} if result.signal else {Status.RETRY}
    assert {*result.statuses} <= allowed, result.said


class FailureRules(SinkHooks):
    """Rules about failures: the signal or the outcomes decide how a lane goes on."""

    async def result_of(self, answer: ServiceAnswer, *, timeout: float = 10.0) -> Attempt:
        """Return the sink's result for *answer* to a batch of two conversions, or of one."""
        async with self.opened(answering(answer), timeout=timeout) as (sink, _):
            return await attempt(sink, self.batch(min(2, sink.limits.batch)))

    @pytest.mark.parametrize("status", [500, 502, 503, 504])
    async def test_an_outage_is_temporary(self, status: int) -> None:
        assert_temporary(await self.result_of(ServiceAnswer(status=status, body="<html>")))

    async def test_a_lost_connection_is_temporary(self) -> None:
        assert_temporary(await self.result_of(ServiceAnswer(hangs_up=True)))

    async def test_a_service_that_is_not_there_is_temporary(self) -> None:
        async with self.opened() as (_, service):
            url = service.url
        sink = self.make(url, 10.0)
        try:
            assert_temporary(await attempt(sink, self.batch(1)))
        finally:
            await close(sink)

    async def test_an_answer_that_does_not_come_in_time_is_temporary(self) -> None:
        """The call ends by itself; the guard of `attempt` fails it otherwise."""
        assert_temporary(await self.result_of(ServiceAnswer(never_comes=True), timeout=_SHORT))

    async def test_a_service_that_asks_to_wait_is_waited_for(self) -> None:
        async with self.opened(self.throttle) as (sink, _):
            result = await attempt(sink, self.batch(min(2, sink.limits.batch)))

        assert_temporary(result)
        if isinstance(result.signal, Throttled):
            assert result.signal.after >= 0
        else:
            assert {*result.statuses} == {Status.RETRY}, result.said

    async def test_a_refused_token_needs_an_operator(self) -> None:
        async with self.opened(self.deny) as (sink, _):
            result = await attempt(sink, self.batch(min(2, sink.limits.batch)))

        assert isinstance(result.signal, NeedsOperator), result.said
        assert {*result.statuses} == {None}

    async def test_a_page_instead_of_an_answer_confirms_and_rejects_nothing(self) -> None:
        if not self.reads_answers:
            pytest.skip("`reads_answers` is False: the status alone is the confirmation")
        page = ServiceAnswer(body="<html>Log in</html>", headers={"content-type": "text/html"})
        result = await self.result_of(page)

        assert not {Status.DELIVERED, Status.REJECTED} & {*result.statuses}, result.said
        assert isinstance(result.signal, Inconclusive) or not isinstance(
            result.signal, BatchRejected
        )

    async def test_the_sink_delivers_again_when_the_service_is_back(self) -> None:
        async with self.opened(answering(ServiceAnswer(status=503))) as (sink, service):
            batch = self.batch(min(2, sink.limits.batch))
            assert_temporary(await attempt(sink, batch))
            service.answer = self.confirm
            result = await attempt(sink, batch)

        assert result.statuses == [Status.DELIVERED] * len(batch), result.said

    # Cancelled calls

    async def test_a_cancelled_call_loses_nothing(self) -> None:
        """Cancelling ends the call, and the same batch can be sent afterwards."""
        async with self.opened(answering(ServiceAnswer(never_comes=True))) as (sink, service):
            batch = self.batch(min(2, sink.limits.batch))
            assert await self.cancelled(sink, service, batch), "the call ignored its cancellation"
            service.answer = self.confirm
            result = await attempt(sink, batch)

        assert result.statuses == [Status.DELIVERED] * len(batch), result.said

    async def test_a_cancelled_call_leaves_others_alone(self) -> None:
        async with self.opened(answering(ServiceAnswer(never_comes=True))) as (sink, service):
            if sink.limits.concurrency < 2:
                pytest.skip("this sink has one call at a time")
            first, other = self.batch(1), self.batch(1, first=10)
            async with anyio.create_task_group() as tg:
                ended = anyio.Event()

                async def run() -> None:
                    await self.cancelled(sink, service, first, until=ended)

                tg.start_soon(run)
                await service.wait_for_requests(1)
                service.answer = self.confirm
                result = await attempt(sink, other)
                ended.set()

        assert result.statuses == [Status.DELIVERED], result.said

    async def cancelled(
        self,
        sink: Sink,
        service: ServiceStandIn,
        batch: list[Conversion],
        *,
        until: anyio.Event | None = None,
    ) -> bool:
        """Cancel a call once its first request has arrived; return whether that ended it."""
        with anyio.fail_after(30):
            async with anyio.create_task_group() as tg:

                async def cancel() -> None:
                    await service.wait_for_requests(1)
                    if until is not None:
                        await until.wait()
                    tg.cancel_scope.cancel()

                tg.start_soon(cancel)
                await sink.deliver(batch)
                tg.cancel_scope.cancel()
                return False
        return True
