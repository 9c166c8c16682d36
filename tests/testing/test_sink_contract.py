"""The sink contract passes a sink that keeps to it, and finds each way to break it."""

from __future__ import annotations

import importlib
import inspect
import logging
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from anytrack_async import Conversion, NeedsOperator, Outcome, SinkLimits, Throttled, Unavailable
from anytrack_async.testing import ServiceAnswer
from anytrack_async.testing.stand_in import ServiceStandIn

EXAMPLES = str(Path(__file__).parents[2] / "docs/examples")

sys.path.insert(0, EXAMPLES)
try:
    example = importlib.import_module("test_chat_sink")
finally:
    sys.path.remove(EXAMPLES)

ChatSink: Any = example.ChatSink


class TestChatSink(example.TestChatSink):  # type: ignore[name-defined, misc]
    """The example of the documentation: a sink that keeps to every rule."""

    sink_class: Any = ChatSink

    def make(self, url: str, timeout: float) -> Any:
        return self.sink_class(url, self.secret, timeout=timeout)


class WithoutLimits(ChatSink):
    limits = None


class TooFewOutcomes(ChatSink):
    async def deliver(self, batch: Sequence[Conversion], /) -> list[Outcome]:
        return (await super().deliver(batch))[1:]


class SendsNothing(ChatSink):
    async def deliver(self, batch: Sequence[Conversion], /) -> list[Outcome]:
        return [Outcome.delivered() for _ in batch]


class RandomIds(ChatSink):
    async def deliver(self, batch: Sequence[Conversion], /) -> list[Outcome]:
        self._http.headers["idempotency-key"] = key = uuid.uuid4().hex
        self._url = self._url.partition("?")[0] + f"?key={key}"
        return await super().deliver(batch)


class RefusesAll(ChatSink):
    async def deliver(self, batch: Sequence[Conversion], /) -> list[Outcome]:
        try:
            return await super().deliver(batch)
        except Exception:
            return [Outcome.rejected("no") for _ in batch]


class GivesUp(ChatSink):
    async def deliver(self, batch: Sequence[Conversion], /) -> list[Outcome]:
        try:
            return await super().deliver(batch)
        except (Unavailable, Throttled):
            return [Outcome.delivered() for _ in batch]


class NeverHolds(ChatSink):
    async def deliver(self, batch: Sequence[Conversion], /) -> list[Outcome]:
        try:
            return await super().deliver(batch)
        except NeedsOperator as exc:
            raise Unavailable(exc.reason) from None


class IgnoresCancellation(ChatSink):
    async def deliver(self, batch: Sequence[Conversion], /) -> list[Outcome]:
        with anyio.move_on_after(0.2, shield=True):
            return await super().deliver(batch)
        return [Outcome.delivered() for _ in batch]


class Blocks(ChatSink):
    async def deliver(self, batch: Sequence[Conversion], /) -> list[Outcome]:
        time.sleep(0.3)  # noqa: ASYNC251 - the point of this sink
        return [Outcome.retry("late") for _ in batch]


class ShowsItsToken(ChatSink):
    def __init__(self, url: str, token: str, **options: Any) -> None:
        super().__init__(url, token, **options)
        self._token = token

    def __repr__(self) -> str:
        return f"ChatSink({self._token})"


class LogsTheAnswer(ChatSink):
    async def deliver(self, batch: Sequence[Conversion], /) -> list[Outcome]:
        response = await self._http.post(self._url, json={})
        logging.getLogger("chat").warning("the chat answered %s", response.text)
        return await super().deliver(batch)


BROKEN = [
    (WithoutLimits, "test_name_and_limits_are_stated_and_stay_the_same", {}),
    (TooFewOutcomes, "test_each_conversion_has_an_outcome", {"size": 2}),
    (SendsNothing, "test_each_conversion_has_an_outcome", {"size": 1}),
    (Blocks, "test_each_conversion_has_an_outcome", {"size": 1}),
    (RandomIds, "test_the_same_batch_sends_the_same_requests_and_changes_nothing", {}),
    (RefusesAll, "test_a_refused_conversion_is_named_and_harms_no_other", {"index": 1}),
    (RefusesAll, "test_an_outage_is_temporary", {"status": 503}),
    (RefusesAll, "test_an_answer_that_does_not_come_in_time_is_temporary", {}),
    (GivesUp, "test_an_outage_is_temporary", {"status": 500}),
    (GivesUp, "test_a_lost_connection_is_temporary", {}),
    (GivesUp, "test_a_service_that_is_not_there_is_temporary", {}),
    (GivesUp, "test_a_service_that_asks_to_wait_is_waited_for", {}),
    (NeverHolds, "test_a_refused_token_needs_an_operator", {}),
    (IgnoresCancellation, "test_a_cancelled_call_loses_nothing", {}),
    (ShowsItsToken, "test_a_service_that_quotes_the_request_betrays_nothing", {"status": 503}),
    (LogsTheAnswer, "test_a_service_that_quotes_the_request_betrays_nothing", {"status": 200}),
]


@pytest.mark.asyncio
@pytest.mark.parametrize(("sink_class", "rule", "arguments"), BROKEN)
async def test_a_sink_that_breaks_a_rule_fails_its_test(
    sink_class: Any, rule: str, arguments: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    contract = type("Contract", (TestChatSink,), {"sink_class": sink_class})()
    test: Callable[..., Any] = getattr(contract, rule)
    if "caplog" in inspect.signature(test).parameters:
        arguments = {**arguments, "caplog": caplog}

    with pytest.raises((AssertionError, BaseExceptionGroup)) as failure:
        await test(**arguments)
    if isinstance(failure.value, BaseExceptionGroup):
        assert failure.value.subgroup(AssertionError)


@pytest.mark.asyncio
async def test_a_sink_that_reads_answers_must_not_believe_a_page() -> None:
    contract = type("Contract", (TestChatSink,), {"reads_answers": True})()

    with pytest.raises((AssertionError, BaseExceptionGroup)):
        await contract.test_a_page_instead_of_an_answer_confirms_and_rejects_nothing()


# The service


@pytest.mark.asyncio
async def test_the_service_reads_bodies_in_chunks_and_keeps_connections() -> None:
    import httpx

    async def chunks() -> Any:
        yield b"one,"
        yield b"two"

    service = ServiceStandIn(lambda request: ServiceAnswer(body={"text": request.text}))
    async with service.serving(), httpx.AsyncClient() as http:
        for _ in range(2):
            response = await http.post(f"{service.url}/path?x=1", content=chunks())
            assert response.json() == {"text": "one,two"}

    assert [request.path for request in service.requests] == ["/path?x=1"] * 2
    assert service.requests[0].method == "POST"
    assert service.requests[0].json is not None


def test_limits_are_part_of_the_contract() -> None:
    assert isinstance(ChatSink.limits, SinkLimits)
