"""OpenTelemetry: spans from `submit` to the request, and metrics."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import anyio
import attrs
import httpx
import pytest
from opentelemetry.trace import SpanKind, StatusCode

from anytrack_async import (
    ConfigurationError,
    Consent,
    Conversion,
    MemoryOutbox,
    QueueFullError,
    ServerError,
    Telemetry,
)
from tests.client.service import KEY, QUICK, Service

pytestmark = pytest.mark.asyncio


def lead(number: int) -> Conversion:
    return Conversion.lead(
        click_id=f"c{number}", event_id=f"lead:{number}", ip_address="203.0.113.5"
    )


async def test_a_conversion_is_traced_from_the_request_to_each_destination(recorder):
    service = Service()
    tracer = recorder.tracer_provider.get_tracer("app")
    async with service.client(sinks=[service.meta()], telemetry=recorder.telemetry) as client:
        with tracer.start_as_current_span("POST /thanks") as request:
            delivery = await client.submit(lead(1))
        await delivery

    (send,) = recorder.spans("send anytrack.outbox")
    assert send.kind is SpanKind.PRODUCER
    assert send.parent.span_id == request.get_span_context().span_id
    assert send.attributes["messaging.message.id"] == "lead:1"
    for destination, host in (("anytrack", "api.anytrack.io"), ("meta", "graph.facebook.com")):
        (process,) = recorder.spans(f"process {destination}")
        assert process.kind is SpanKind.CONSUMER
        assert process.parent is None
        assert [link.context.span_id for link in process.links] == [send.context.span_id]
        assert process.attributes["messaging.batch.message_count"] == 1
        (post,) = (span for span in recorder.spans("POST") if span.parent == process.context)
        assert post.kind is SpanKind.CLIENT
        assert post.attributes["http.request.method"] == "POST"
        assert post.attributes["http.response.status_code"] == 200
        assert (post.attributes["server.address"], post.attributes["server.port"]) == (host, 443)


async def test_the_trace_context_is_stored_with_the_conversion(recorder, tmp_path: Path):
    service, path = Service(), tmp_path / "outbox.db"
    service.gate = anyio.Event()  # AnyTrack does not answer the first process
    async with service.client(outbox=path, telemetry=recorder.telemetry) as client:
        await client.submit_many([lead(1), lead(2)])
        client.limit_drain(0)
    service.gate.set()
    async with service.client(outbox=path, telemetry=recorder.telemetry) as client:
        for number in (1, 2):
            await (await client.submit(lead(number)))  # repeats: their own spans are not linked

    send, *_ = recorder.spans("send anytrack.outbox")
    assert send.attributes["messaging.batch.message_count"] == 2
    linked = {
        link.context.span_id
        for process in recorder.spans("process anytrack")
        for link in process.links
    }
    assert linked == {send.context.span_id}


async def test_failures_are_marked_and_quote_nothing(recorder):
    service = Service()
    service.answers["/v1/conversions"] = lambda _: httpx.Response(
        500, json={"message": f"token {KEY} of jane@example.com"}
    )
    async with service.client(telemetry=recorder.telemetry) as client:
        await (await client.submit(lead(1)))

    posts = recorder.spans("POST")
    assert posts
    for post in posts:
        assert post.status.status_code is StatusCode.ERROR
        assert post.attributes["error.type"] == "500"
    text = "".join(
        span.to_json() for name in ("POST", "process anytrack") for span in recorder.spans(name)
    )
    assert KEY not in text
    assert "jane" not in text


async def test_a_conversion_that_is_not_accepted_is_marked(recorder):
    outbox = MemoryOutbox(capacity=1)
    settings = attrs.evolve(QUICK, on_full="raise")
    service = Service()
    service.gate = anyio.Event()
    async with service.client(
        outbox=outbox, delivery=settings, telemetry=recorder.telemetry
    ) as client:
        await client.submit(lead(1))
        with pytest.raises(QueueFullError):
            await client.submit(lead(2))
        service.gate.set()

    _, refused = recorder.spans("send anytrack.outbox")
    assert refused.status.status_code is StatusCode.ERROR
    assert refused.attributes["error.type"] == "QueueFullError"


async def test_a_connection_that_breaks_is_marked_with_its_error(recorder):
    service = Service()

    def breaks(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadError("reset", request=request)

    service.answers["/v1/conversions"] = breaks
    async with service.client(telemetry=recorder.telemetry) as client:
        await (await client.submit(lead(1)))

    assert {span.attributes["error.type"] for span in recorder.spans("POST")} == {"ReadError"}


async def test_reads_are_traced_without_their_query(recorder):
    service = Service()
    service.answer("/v1/conversions", {"data": []})
    async with service.client(telemetry=recorder.telemetry) as client:
        await client.get_conversions(source="secret-source")
        service.refuse(500)
        with pytest.raises(ServerError):
            await client.get_conversions()

    first, second = recorder.spans("GET")
    assert first.attributes["url.full"] == "https://api.anytrack.io/v1/conversions"
    assert second.attributes["error.type"] == "500"


async def test_metrics_count_what_was_accepted_and_delivered(recorder):
    service = Service()
    async with service.client(sinks=[service.meta()], telemetry=recorder.telemetry) as client:
        service.refuse(422, "no click", path="/v1/conversions")
        for delivery in await client.submit_many([lead(1), lead(2)]):
            await delivery
        await (await client.submit(attrs.evolve(lead(3), consent=Consent.denied())))
        (sent,) = recorder.points("messaging.client.sent.messages").values()
        assert sent.value == 3

    deliveries = recorder.points("anytrack.deliveries")
    values = {tuple(sorted(dict(key).items())): point.value for key, point in deliveries.items()}
    assert values[("destination", "meta"), ("outcome", "delivered")] == 2
    assert values[("destination", "meta"), ("outcome", "skipped")] == 1
    assert values[("destination", "anytrack"), ("outcome", "dead")] == 3
    durations = recorder.points("messaging.process.duration")
    assert {dict(key)["messaging.consumer.group.name"] for key in durations} == {"anytrack", "meta"}
    (request,) = (
        point
        for key, point in recorder.points("http.client.request.duration").items()
        if ("server.address", "graph.facebook.com") in key
    )
    assert request.count >= 1


async def test_gauges_have_the_backlog_and_the_states_of_the_lanes(recorder):
    service = Service()
    async with service.client(telemetry=recorder.telemetry) as client:
        await (await client.submit(lead(1)))
        waiting = recorder.points("anytrack.outbox.waiting")
        states = recorder.points("anytrack.lane.state")
        ages = recorder.points("anytrack.outbox.oldest_age")

    assert [dict(key)["destination"] for key in waiting] == ["anytrack"]
    assert [dict(key)["destination"] for key in ages] == ["anytrack"]
    assert [dict(key)["state"] for key in states] == ["running"]


async def test_pushes_are_traced_in_the_trace_of_their_caller(recorder):
    service = Service()
    tracer = recorder.tracer_provider.get_tracer("app")
    async with service.client(sinks=[service.meta()], telemetry=recorder.telemetry) as client:
        with tracer.start_as_current_span("admin"):
            await client.sync_with_meta_capi(lead(1))

    (admin,), (process,) = recorder.spans("admin"), recorder.spans("process meta")
    assert process.parent == admin.context
    assert [span.parent for span in recorder.spans("POST")] == [process.context]


async def test_without_a_provider_nothing_is_wrapped():
    service = Service()
    async with service.client() as client:
        dispatcher = client._dispatcher
        assert dispatcher.telemetry is None
        assert dispatcher._append == dispatcher._admission.append
        conversion = lead(1)
        await (await client.submit(conversion))
        assert conversion.traceparent is None


async def test_telemetry_can_be_turned_off_and_ends_with_the_client(recorder):
    service = Service()
    async with service.client(telemetry=False) as client:
        assert client._dispatcher.telemetry is None
    client = service.client(telemetry=recorder.telemetry)
    await client.start()
    await client.aclose()
    assert client._dispatcher.telemetry is None


GLOBAL_PROVIDER = """
import anyio
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from anytrack_async import Conversion
from tests.client.service import Service

async def main():
    service, exporter = Service(), InMemorySpanExporter()
    client = service.client()           # made before the provider is set
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    async with client:
        await (await client.submit(Conversion.lead(click_id="c")))
    print(sorted(span.name for span in exporter.get_finished_spans()))

anyio.run(main)
"""


async def test_a_global_provider_is_used_without_configuration():
    result = await anyio.run_process(
        [sys.executable, "-c", GLOBAL_PROVIDER], cwd=Path(__file__).parents[2]
    )

    assert result.stdout.decode().strip() == "['POST', 'process anytrack', 'send anytrack.outbox']"


IMPORTED = """
import sys
from anytrack_async import Telemetry

print(Telemetry.from_globals() is not None, "opentelemetry" in sys.modules)
"""


@pytest.mark.parametrize("provider", [None, "sdk_meter_provider"])
async def test_opentelemetry_is_imported_only_if_a_provider_may_be_set(provider):
    variables = {"OTEL_PYTHON_METER_PROVIDER": provider} if provider else {}
    result = await anyio.run_process(
        [sys.executable, "-c", IMPORTED],
        cwd=Path(__file__).parents[2],
        env={**os.environ, **variables},
    )

    assert result.stdout.decode().split() == [str(provider is not None)] * 2


async def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.metrics", None)

    with pytest.raises(ConfigurationError, match=r"anytrack_async\[otel\]"):
        Telemetry()
    assert Telemetry.from_globals() is None
