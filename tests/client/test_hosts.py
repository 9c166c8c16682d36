"""The client in programs that other libraries run: their hooks start and close it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import anyio
import pytest
import trio
from aiohttp import ClientSession, web
from saq import Job, Status, Worker
from saq.queue.base import Queue
from taskiq import Context, InMemoryBroker, TaskiqDepends, TaskiqEvents, TaskiqState

from anytrack_async import AnyTrackClient, Conversion, WrongEventLoopError
from tests.client.service import Service

ROOT = Path(__file__).parents[2]


def lead(number: int = 1) -> Conversion:
    return Conversion.lead(click_id="c", event_id=f"lead:{number}", ip_address="203.0.113.5")


# trio


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.start(),
        lambda client: client.__aenter__(),
        lambda client: client.get_daily_report(),
        lambda client: client.sync_with_meta_capi(lead()),
    ],
    ids=["start", "async with", "a read", "a push"],
)
def test_trio_gets_a_clear_error_at_once(service: Service, call: Any):
    client = service.client(sinks=[service.meta()])

    with pytest.raises(WrongEventLoopError, match=r"needs asyncio.*asyncio\.run\(\)"):
        trio.run(call, client)

    assert service.requests == []


def test_submitting_in_trio_says_that_the_client_is_not_open(service: Service):
    client = service.client()

    with pytest.raises(Exception, match="not open"):
        trio.run(client.submit, lead())


def test_an_asyncio_client_can_be_used_from_trio_in_a_thread(service: Service):
    async def track() -> str | None:
        async with service.client() as client:
            return (await client.track_conversion(lead())).conversion_id

    async def main() -> str | None:
        return await trio.to_thread.run_sync(asyncio.run, track())

    assert trio.run(main) == "at-lead:1"


# Hooks of workers and frameworks


@pytest.mark.asyncio
async def test_taskiq_starts_and_closes_the_client(service: Service):
    broker = InMemoryBroker()

    @broker.on_event(TaskiqEvents.CLIENT_STARTUP, TaskiqEvents.WORKER_STARTUP)
    async def start(state: TaskiqState) -> None:
        if "anytrack" not in state:
            state.anytrack = service.client()
        await state.anytrack.start()

    @broker.on_event(TaskiqEvents.CLIENT_SHUTDOWN, TaskiqEvents.WORKER_SHUTDOWN)
    async def close(state: TaskiqState) -> None:
        await state.anytrack.aclose()

    @broker.task
    async def track(number: int, context: Annotated[Context, TaskiqDepends()]) -> None:
        await context.state.anytrack.submit(lead(number))

    await broker.startup()
    tasks = [await track.kiq(number) for number in range(5)]
    results = [await task.wait_result(timeout=30) for task in tasks]
    await broker.shutdown()

    assert not any(result.is_err for result in results)
    assert len(service.bodies()) == 5  # closing has delivered them


class LocalQueue(Queue):
    """SAQ's queue without a server: jobs wait in an `asyncio.Queue`."""

    def __init__(self) -> None:
        super().__init__("local", dump=None, load=None)
        self._waiting: asyncio.Queue[Job] = asyncio.Queue()
        self.finished: list[Job] = []
        self.done = asyncio.Event()

    async def _enqueue(self, job: Job) -> Job:
        job.status = Status.QUEUED
        await self._waiting.put(job)
        return job

    async def dequeue(self, timeout: float = 0.0, poll_interval: float = 0.0) -> Job:
        return await self._waiting.get()

    async def _finish(self, job: Job, status: Status, **_: Any) -> None:
        job.status = status
        self.finished.append(job)
        if len(self.finished) == 3:
            self.done.set()

    async def _retry(self, job: Job, error: str | None) -> None: ...
    async def _update(self, job: Job, status: Status | None = None, **_: Any) -> None: ...
    async def abort(self, job: Job, error: str, ttl: float = 5) -> None: ...
    async def count(self, kind: str) -> int:
        return self._waiting.qsize()

    async def disconnect(self) -> None: ...
    async def info(self, *_: Any, **__: Any) -> Any:
        return {}

    async def iter_jobs(self, *_: Any, **__: Any) -> Any:
        return
        yield

    async def job(self, job_key: str) -> Job | None:
        return None

    async def jobs(self, job_keys: Any) -> list[Job | None]:
        return []

    async def sweep(self, lock: int = 60, abort: float = 5.0) -> list[str]:
        return []

    async def write_worker_info(self, *_: Any, **__: Any) -> None: ...


@pytest.mark.asyncio
async def test_saq_starts_and_closes_the_client(service: Service):
    async def start(context: dict[str, Any]) -> None:
        context["anytrack"] = service.client()
        await context["anytrack"].start()

    async def close(context: dict[str, Any]) -> None:
        await context["anytrack"].aclose()

    async def track(context: dict[str, Any], *, number: int) -> None:
        await context["anytrack"].submit(lead(number))

    queue = LocalQueue()
    worker = Worker(queue, [("track", track)], startup=start, shutdown=close, concurrency=2)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(worker.start)
        for number in range(3):
            await queue.enqueue("track", number=number)
        with anyio.fail_after(30):
            await queue.done.wait()
        worker.event.set()

    assert [job.status for job in queue.finished] == [Status.COMPLETE] * 3
    assert len(service.bodies()) == 3


CLIENT = web.AppKey("anytrack", AnyTrackClient)


@pytest.mark.asyncio
async def test_aiohttp_starts_and_closes_the_client(service: Service):
    async def anytrack(app: web.Application) -> Any:
        app[CLIENT] = service.client()
        await app[CLIENT].start()
        yield
        await app[CLIENT].aclose()

    async def thanks(request: web.Request) -> web.Response:
        await request.app[CLIENT].submit(lead())
        return web.Response()

    app = web.Application()
    app.cleanup_ctx.append(anytrack)
    app.router.add_post("/thanks", thanks)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    async with ClientSession() as http, http.post(f"http://{host}:{port}/thanks") as response:
        assert response.status == 200
    await runner.cleanup()

    assert len(service.bodies()) == 1


FIXTURES = """
import pytest, pytest_asyncio
from anytrack_async import Conversion
from tests.client.service import Service

@pytest_asyncio.fixture
async def client():
    client = Service().client()
    await client.start()
    yield client
    await client.aclose()

@pytest.mark.asyncio
@pytest.mark.parametrize("number", [1, 2])
async def test_a_fixture(client, number):
    await client.track_conversion(Conversion.lead(click_id="c"))
"""


OPTIONS = ("-o", "asyncio_default_fixture_loop_scope=function")


def test_a_plain_fixture_starts_and_closes_the_client(tmp_path: Path):
    (tmp_path / "test_fixture.py").write_text(FIXTURES, encoding="utf-8")

    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", *OPTIONS, str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert "2 passed" in result.stdout, result.stdout + result.stderr
