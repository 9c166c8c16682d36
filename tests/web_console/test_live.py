"""The stream of changes: one reader for all, once a second, and an end."""

from __future__ import annotations

import anyio
import pytest

from anytrack_async import console
from anytrack_async.web_console import live
from anytrack_async.web_console.live import LiveFeed, message
from tests.web_console.conftest import browser

pytestmark = pytest.mark.asyncio


class Reader:
    """Counts how often it was read, and how many read it at once."""

    def __init__(self) -> None:
        self.reads = self.active = self.most_active = 0

    async def __call__(self) -> str:
        self.reads += 1
        self.active += 1
        self.most_active = max(self.active, self.most_active)
        await anyio.lowlevel.checkpoint()
        self.active -= 1
        return f"state {self.reads}"


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(live, "_INTERVAL", 0.01)


async def messages(feed: LiveFeed, count: int) -> list[str]:
    received = []
    stream = feed.stream()
    async for text in stream:
        received.append(text)
        if len(received) == count:
            break
    await stream.aclose()
    return received


async def test_all_viewers_share_the_reads_of_one(quick):
    read = Reader()
    feed = LiveFeed(read)
    async with anyio.create_task_group() as tg:
        for _ in range(20):
            tg.start_soon(messages, feed, 4)

    assert read.most_active == 1
    assert read.reads < 12  # three states for each of twenty viewers, of which all read few
    assert feed.viewers == 0


async def test_a_viewer_that_leaves_while_it_reads_is_followed_by_the_next(quick):
    gate, reads = anyio.Event(), []

    async def read() -> str:
        reads.append(1)
        if len(reads) == 1:
            await gate.wait()
        return f"state {len(reads)}"

    feed = LiveFeed(read)
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tg:
            tg.start_soon(messages, feed, 2)
            while not reads:
                await anyio.lowlevel.checkpoint()
            tg.cancel_scope.cancel()
        received = await messages(feed, 2)

    assert received[1] == message("state", "state 2")


async def test_a_state_that_has_not_changed_is_not_sent_again(quick):
    reads = []

    async def read() -> str:
        reads.append(1)
        return "same" if len(reads) < 5 else "other"

    received = await messages(LiveFeed(read), 3)

    assert received[1:] == [message("state", "same"), message("state", "other")]


async def test_closing_ends_all_streams():
    feed = LiveFeed(Reader())
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tg:
            for _ in range(3):
                tg.start_soon(messages, feed, 1_000)
            while feed.viewers < 3:
                await anyio.lowlevel.checkpoint()
            feed.close()

    assert feed.viewers == 0


async def test_streams_end_although_the_feed_is_opened_again_at_once():
    feed = LiveFeed(Reader())
    stream = feed.stream()
    assert await anext(stream) == "retry: 1000\n\n"
    assert "state 1" in await anext(stream)
    feed.close()
    feed.open()
    with anyio.fail_after(5):
        rest = [text async for text in stream]

    assert rest == []
    assert feed.viewers == 0


async def test_a_stream_ends_by_itself_so_that_servers_can_shut_down(quick, monkeypatch):
    monkeypatch.setattr(live, "_STREAM_SECONDS", 0.05)
    with anyio.fail_after(10):
        received = await messages(LiveFeed(Reader()), 1_000)

    assert len(received) < 1_000


async def test_too_many_open_pages_are_told_to_come_back(path, monkeypatch):
    monkeypatch.setattr(live, "_MAX_VIEWERS", 0)
    app = console(path)
    async with browser(app) as http:
        answer = await http.get("/live")

    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "30"


async def test_those_that_come_at_once_are_not_too_many_either(monkeypatch):
    monkeypatch.setattr(live, "_MAX_VIEWERS", 2)
    feed = LiveFeed(Reader())
    streams = [feed.stream() for _ in range(4)]  # none has been counted yet
    begun = [await anext(stream) for stream in streams]

    assert begun == ["retry: 1000\n\n"] * 2 + ["retry: 30000\n\n"] * 2
    for stream in streams:
        await stream.aclose()
    assert feed.viewers == 0


async def test_the_stream_has_the_cards(path, monkeypatch):
    monkeypatch.setattr(live, "_STREAM_SECONDS", 0.01)
    app = console(path)
    async with browser(app) as http:
        answer = await http.get("/live")
    await app.aclose()

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert "event: state\ndata: " in answer.text
    assert "hubspot" in answer.text
    assert "<html" not in answer.text


async def test_an_outbox_that_fails_is_said_in_the_stream(tmp_path, monkeypatch):
    monkeypatch.setattr(live, "_STREAM_SECONDS", 0.01)
    async with browser(console(tmp_path / "nowhere.db")) as http:
        answer = await http.get("/live")

    assert "nowhere.db does not exist" in answer.text


async def test_every_line_of_a_message_is_a_field():
    assert message("state", "a\nb") == "event: state\ndata: a\ndata: b\n\n"
