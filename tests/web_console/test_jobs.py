"""Replaying and discarding all that match: the answer comes at once, and the work goes on."""

from __future__ import annotations

import logging
import re

import anyio
import pytest
import pytest_asyncio

from anytrack_async import MemoryOutbox, OutboxError, SQLiteOutbox, console
from anytrack_async.testing.outbox_rules.base import LEASE, failures, sale
from anytrack_async.web_console.jobs import Jobs
from anytrack_async.web_console.selection import LetterSelection
from tests.web_console.conftest import anna, browser

pytestmark = pytest.mark.asyncio

ALL = {"scope": "all", "confirmed": "yes"}


class Gate:
    """Lets the steps of an outbox pass one by one."""

    def __init__(self, outbox: SQLiteOutbox) -> None:
        self._change, self.failure = outbox.change_dead_letters, None
        self._steps = anyio.Semaphore(0)

    def open(self, steps: int) -> None:
        for _ in range(steps):
            self._steps.release()

    async def change(self, *args, **options):
        await self._steps.acquire()
        if self.failure:
            raise self.failure
        return await self._change(*args, **options)


async def fill(outbox, count: int = 30) -> None:
    await outbox.open(["meta"])
    await outbox.append([sale(number) for number in range(count)])
    claim = await outbox.claim("meta", count, LEASE)
    await outbox.settle(claim, failures(claim, *range(count)))


@pytest_asyncio.fixture
async def outbox(tmp_path, monkeypatch):
    """Return an outbox with 30 dead letters, of which 10 are changed in a step."""
    monkeypatch.setattr("anytrack_async.outbox.sqlite.dead_letter_pages.DEAD_LETTERS_PER_STEP", 10)
    monkeypatch.setattr("anytrack_async.web_console.letter_actions._AT_ONCE", 0.05)
    monkeypatch.setattr("anytrack_async.web_console.source._BETWEEN_STEPS", 0.0)
    outbox = SQLiteOutbox(tmp_path / "outbox.db")
    await fill(outbox)
    yield outbox
    await outbox.aclose()


@pytest.fixture
def gate(outbox, monkeypatch):
    gate = Gate(outbox)
    monkeypatch.setattr(outbox, "change_dead_letters", gate.change)
    return gate


async def shown(http, address: str, words: str) -> str:
    """Ask for a page until it has *words*."""
    with anyio.fail_after(10):
        while words not in (page := (await http.get(address)).text):  # noqa: ASYNC110
            await anyio.sleep(0.005)
    return page


@pytest.mark.parametrize("action", ["replay", "discard"])
async def test_a_few_are_done_with_the_answer(outbox, action, caplog, monkeypatch):
    monkeypatch.setattr("anytrack_async.web_console.letter_actions._AT_ONCE", 10.0)
    caplog.set_level(logging.INFO)
    async with browser(console(outbox, admin=anna)) as http:
        response = await http.post(f"/{action}", data={**ALL, "code": "E1"})
        page = (await http.get(f"/{response.headers['location']}")).text

    assert response.status_code == 303
    assert "30 dead letters are" in page
    assert (await outbox.depths())["meta"].dead == 0
    assert f"anna@shop.example {action}ed 30 dead letters" in caplog.text
    assert (await outbox.verify()).is_intact


async def test_many_go_on_after_the_answer_and_the_page_says_how_far(outbox, gate):
    app = console(outbox, admin=anna)
    async with browser(app) as http, browser(console(outbox)) as stranger:
        response = await http.post("/discard", data={**ALL, "code": "E1"})
        address = f"/{response.headers['location']}"
        before = (await http.get(address)).text
        gate.open(1)
        part = await shown(http, "/dead-letters", "10 of 30 dead letters so far")
        second = await http.post("/replay", data=ALL)
        gate.open(10)
        (job_id,) = re.findall(r"job=(\d+)", address)
        done = await shown(http, f"/job?id={job_id}", "discarded</strong>")
        unknown = await stranger.get("/job?id=99")

    assert "0 of 30 dead letters so far" in before
    assert '<noscript><meta http-equiv="refresh"' in before
    assert 'hx-trigger="load delay:1s"' in part
    assert (second.status_code, unknown.status_code) == (409, 404)
    assert "30 dead letters" in done
    assert "hx-trigger" not in done
    assert (await outbox.depths())["meta"].dead == 0


async def test_a_job_is_stopped_between_two_steps(outbox, gate, caplog):
    caplog.set_level(logging.INFO)
    async with browser(console(outbox, admin=anna)) as http:
        response = await http.post("/discard", data=ALL)
        gate.open(1)
        await shown(http, "/dead-letters", "10 of 30 dead letters so far")
        (job_id,) = re.findall(r"job=(\d+)", response.headers["location"])
        await http.post("/stop", data={"id": job_id})
        page = await shown(http, f"/dead-letters?job={job_id}", "It was stopped.")

    assert "What was changed stays so" in page
    assert (await outbox.depths())["meta"].dead == 20
    assert "anna@shop.example discarded 10 dead letters" in caplog.text


async def test_a_job_that_fails_says_why(outbox, gate):
    gate.failure = OutboxError("the disk is full")
    gate.open(1)
    async with browser(console(outbox, admin=anna)) as http:
        response = await http.post("/replay", data=ALL)
        page = await shown(http, f"/{response.headers['location']}", "the disk is full")
        gate.failure = None
        gate.open(9)
        again = await http.post("/replay", data=ALL)

    assert 'role="status"' in page
    assert again.status_code == 303


async def test_closing_the_console_ends_a_job(outbox, gate):
    app = console(outbox, admin=anna)
    async with browser(app) as http:
        await http.post("/replay", data=ALL)
        gate.open(1)
        await shown(http, "/dead-letters", "10 of 30 dead letters so far")
    with anyio.fail_after(5):
        await app.aclose()

    assert (await outbox.depths())["meta"].dead == 20


class WithoutSteps(MemoryOutbox):
    change_dead_letters = None


@pytest.mark.parametrize("engine", [MemoryOutbox, WithoutSteps])
async def test_other_outboxes_change_all_too(engine, monkeypatch):
    monkeypatch.setattr("anytrack_async.outbox.memory.dead_letters._CHANGED_PER_STEP", 11)
    outbox = engine()
    await fill(outbox)
    async with browser(console(outbox, admin=anna)) as http:
        response = await http.post("/replay", data=ALL)

    assert response.headers["location"] == "dead-letters?done=replayed&count=30"
    assert (await outbox.depths())["meta"].dead == 0


@pytest.mark.parametrize("address", ["/stop", "/replay", "/discard"])
async def test_only_an_admin_begins_and_stops(outbox, address):
    async with browser(console(outbox)) as http:
        assert (await http.post(address, data={**ALL, "id": "1"})).status_code == 403


async def test_a_job_that_is_stopped_before_it_begins_has_ended():
    async def work(job):
        job.count += 1

    jobs = Jobs()
    job = jobs.start("replay", LetterSelection(), "anna", 1, work)
    with anyio.fail_after(5):
        await jobs.aclose()

    assert (job.is_running, job.count, job.problem) == (False, 0, "It was stopped.")
    assert jobs.running is None
