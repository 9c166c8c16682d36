"""`anytrack pump` in processes of its own, which are killed and stopped, and its usage errors."""

from __future__ import annotations

import asyncio
import re
import signal

import anyio
import nats
import pytest
import pytest_asyncio
from nats.js.api import AckPolicy

from anytrack_async import Conversion, JetStreamPublisher, SQLiteOutbox

COUNT = 1_200


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def jetstream(nats_url):
    connection = await nats.connect(nats_url)
    yield connection.jetstream()
    await connection.close()


@pytest.fixture
def no_service(monkeypatch):
    """AnyTrack cannot be reached: pumps accept, and deliver nothing."""
    monkeypatch.setenv("ANYTRACK_API_KEY", "key")
    monkeypatch.setenv("ANYTRACK_ACCOUNT_ID", "account")
    monkeypatch.setenv("ANYTRACK_BASE_URL", "http://127.0.0.1:1")


@pytest.mark.asyncio(loop_scope="module")
async def test_pumps_that_are_killed_and_stopped_lose_nothing(
    jetstream, nats_url, no_service, outbox_path, child
):
    stream = "PUMPED"
    await jetstream.add_stream(name=stream, subjects=[stream], allow_atomic=True)
    # What a killed pump had comes again after a second.
    await jetstream.add_consumer(
        stream, durable_name="anytrack", ack_policy=AckPolicy.EXPLICIT, ack_wait=1
    )
    async with JetStreamPublisher(nats_url, subject=stream, assume_synced=True) as publisher:
        leads = [Conversion.lead(order_id=str(number)) for number in range(COUNT)]
        await publisher.publish_many(leads)
    arguments = ("pump", nats_url, "--stream", stream, "--batch", "20", "--to", "anytrack")

    async def until(condition):
        # The server has no events for it.
        while not condition(await jetstream.consumer_info(stream, "anytrack")):  # noqa: ASYNC110
            await asyncio.sleep(0.005)

    killed = child(*arguments)
    await until(lambda info: info.num_pending < 0.9 * COUNT)
    killed.process.kill()
    killed.process.wait()
    stopped = child(*arguments)
    left = (await jetstream.consumer_info(stream, "anytrack")).num_pending
    assert left > 100
    await until(lambda info: info.num_pending < left - 100)
    stopped.process.send_signal(signal.SIGTERM)
    code, out, err = await asyncio.to_thread(stopped.end)
    assert code == 0, err
    assert "stopped by SIGTERM" in err
    assert re.search(r"\d+ accepted · \d+ repeats", out)
    # It gave back what it had not confirmed, so that another pump would get it at once.
    info = await jetstream.consumer_info(stream, "anytrack")
    # Of the killed one, the last batch, and the next one, which may have been on its way.
    assert info.num_ack_pending <= 40
    last = child(*arguments)
    await until(lambda info: not info.num_pending and not info.num_ack_pending)
    last.interrupt()
    code, _, _ = await asyncio.to_thread(last.end)
    assert code == 130
    outbox = SQLiteOutbox(outbox_path)
    await outbox.open(["anytrack"])
    reports = await outbox.reports([lead.event_id for lead in leads])
    await outbox.aclose()
    assert len(reports) == COUNT
    await jetstream.delete_stream(stream)


def test_it_needs_an_outbox(run, sandbox):
    result = run("pump", "nats://127.0.0.1:1", "--stream", "S")

    assert result.code == 2
    assert "set ANYTRACK_OUTBOX" in result.err


def test_a_missing_stream_is_named(run, sandbox, outbox_path, nats_url):
    result = run("pump", nats_url, "--stream", "NOWHERE")

    assert result.code == 2
    assert "no stream 'NOWHERE'" in result.err


def test_an_unknown_destination_is_named(run, sandbox, outbox_path, nats_url):
    async def add():
        connection = await nats.connect(nats_url)
        await connection.jetstream().add_stream(name="KNOWN", subjects=["KNOWN"])
        await connection.close()

    asyncio.run(add())
    result = run("pump", nats_url, "--stream", "KNOWN", "--to", "meta, nowhere")

    assert result.code == 2
    assert "nowhere" in result.err


def test_the_password_of_a_database_is_not_shown_when_it_stops(run, sandbox, monkeypatch):
    passed = []
    monkeypatch.setattr(anyio, "run", lambda function, *arguments: passed.extend(arguments))

    run("pump", "nats://127.0.0.1:1", "--stream", "S", "--outbox", "postgresql://a:hunter2@db/shop")

    assert "postgresql://db/shop" in passed
    assert "hunter2" not in str([value for value in passed if isinstance(value, str)])
