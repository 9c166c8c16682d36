"""An export is whole or not there, in flat memory, and written in threads."""

from __future__ import annotations

import asyncio
import os
import stat
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine
from pathlib import Path
from random import Random
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from anytrack_async.client import export as module
from anytrack_async.client.export import export
from anytrack_async.client.export_formats import (
    CSV_COLUMNS,
    FORMATS,
    Format,
)
from anytrack_async.models.conversion import Conversion
from tests.client.exports import FULL, files_in, repeated, rows_of, source

pytestmark = pytest.mark.asyncio


# Whole or not at all


async def test_no_temporary_file_is_left(tmp_path: Path):
    await export(source(FULL), tmp_path / "out.csv")

    assert files_in(tmp_path) == ["out.csv"]


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
async def test_only_the_owner_may_read_the_file(tmp_path: Path):
    await export(source(FULL), tmp_path / "out.csv")

    assert stat.S_IMODE((tmp_path / "out.csv").stat().st_mode) == 0o600


async def test_the_old_file_stays_until_the_new_one_is_complete(tmp_path: Path):
    path = tmp_path / "out.csv"
    path.write_text("old")
    old_contents = []

    async def watched() -> AsyncGenerator[Conversion, None]:
        for _ in range(1_500):
            yield FULL
        old_contents.append(await anyio.Path(path).read_text())

    await export(watched(), path)

    assert old_contents == ["old"]
    assert len(await rows_of(path)) == 1_501


async def test_an_export_is_on_disk_before_it_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path, steps = tmp_path / "out.csv", []
    fsync, replace = os.fsync, Path.replace

    def watched_fsync(descriptor: int) -> None:
        size = os.fstat(descriptor).st_size
        fsync(descriptor)
        steps.append(("fsync", size))

    def watched_replace(part: Path, target: Path) -> Path:
        steps.append(("rename", part.stat().st_size))
        return replace(part, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(Path, "replace", watched_replace)

    await export(repeated(1_500), path)

    size = path.stat().st_size
    assert size > 0
    assert steps == [("fsync", size), ("rename", size)]


class BrokenError(Exception):
    pass


async def breaking(closed: list[bool], before: int) -> AsyncGenerator[Conversion, None]:
    try:
        for _ in range(before):
            yield FULL
        raise BrokenError
    finally:
        closed.append(True)


@pytest.mark.parametrize("before", [0, 1, 1_500])
async def test_a_failing_source_changes_no_file(before: int, tmp_path: Path):
    path, closed = tmp_path / "out.csv", []
    path.write_text("old")

    with pytest.raises(BrokenError):
        await export(breaking(closed, before), path)

    assert files_in(tmp_path) == ["out.csv"]
    assert path.read_text() == "old"
    assert closed == [True]


async def test_a_cancelled_export_leaves_no_file(tmp_path: Path):
    reached, closed = anyio.Event(), anyio.Event()

    async def endless() -> AsyncGenerator[Conversion, None]:
        try:
            for _ in range(1_200):
                yield FULL
            reached.set()
            await anyio.sleep_forever()
        finally:
            closed.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(export, endless(), tmp_path / "out.csv")
        await reached.wait()
        assert len(files_in(tmp_path)) == 1
        tasks.cancel_scope.cancel()

    assert files_in(tmp_path) == []
    assert closed.is_set()


class Blocked:
    """A method of the unfinished file whose thread stops before or after the work."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str, before: bool) -> None:
        self.entered = anyio.Event()
        self.released = threading.Event()
        self._method = getattr(module._UnfinishedFile, name)
        self._before = before
        self._loop = asyncio.get_running_loop()
        monkeypatch.setattr(module._UnfinishedFile, name, lambda *args: self._run(*args))

    def _run(self, *args: Any) -> None:
        if not self._before:
            self._method(*args)
        self._loop.call_soon_threadsafe(self.entered.set)
        assert self.released.wait(10)
        if self._before:
            self._method(*args)


def run_until_threads_end(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run *main* in an event loop of its own, then wait for the threads that it has left."""
    threads = set(threading.enumerate())
    asyncio.run(main())
    for thread in set(threading.enumerate()) - threads:
        thread.join(10)


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("step", ["create", "append", "publish", "discard"])
async def test_an_export_that_asyncio_cancels_in_a_thread_leaves_no_temporary_file(
    step: str, before: bool, times: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async def cancel_in_step() -> None:
        blocked = Blocked(monkeypatch, step, before)
        rows = breaking([], 1_500) if step == "discard" else repeated(1_500)
        task = asyncio.create_task(export(rows, tmp_path / "out.csv"))
        await blocked.entered.wait()
        for _ in range(times):
            task.cancel()
            await anyio.wait_all_tasks_blocked()
        blocked.released.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    await anyio.to_thread.run_sync(run_until_threads_end, cancel_in_step)

    published = step == "publish" and not before
    assert files_in(tmp_path) == (["out.csv"] if published else [])


@pytest.mark.parametrize("seed", range(4))
async def test_an_export_that_is_cancelled_at_any_step_leaves_no_temporary_file(
    seed: int, tmp_path: Path
):
    random = Random(seed)

    async def export_in(scope: anyio.CancelScope, path: Path) -> None:
        with scope:
            await export(repeated(random.choice([0, 1, 1_500])), path)

    async def cancel_many() -> None:
        for number in range(100):
            scope = anyio.CancelScope()
            task = asyncio.create_task(export_in(scope, tmp_path / f"{number}.csv"))
            for _ in range(random.choice([1, 1, 2])):
                for _ in range(random.randrange(30)):
                    await anyio.lowlevel.checkpoint()
                random.choice([task, scope]).cancel()
            await asyncio.wait([task])

    await anyio.to_thread.run_sync(run_until_threads_end, cancel_many)

    assert [name for name in files_in(tmp_path) if name.startswith(".")] == []


async def test_a_full_disk_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    closed: list[bool] = []
    monkeypatch.setattr(module._UnfinishedFile, "append", full)

    with pytest.raises(OSError, match="No space left"):
        await export(breaking(closed, 1_500), tmp_path / "out.csv")

    assert files_in(tmp_path) == []
    assert closed == [True]


async def test_a_missing_folder_is_reported_before_the_first_read(tmp_path: Path):
    closed: list[bool] = []

    with pytest.raises(FileNotFoundError):
        await export(breaking(closed, 1), tmp_path / "missing" / "out.csv")

    assert closed == []


# Flat memory, free loop


async def test_at_most_one_slice_is_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    sizes = []
    lines = FORMATS["csv"].formatter(CSV_COLUMNS)

    def measured(rows: Any, first: bool) -> bytes:
        sizes.append(len(rows))
        return lines(rows, first)

    monkeypatch.setattr(module, "FORMATS", {"csv": Format(formatter=lambda _: measured)})

    await export(repeated(3_100), tmp_path / "out.csv")

    assert sizes == [1_000, 1_000, 1_000, 100]


async def test_formatting_and_writing_happen_in_worker_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    threads = set()
    append = module._UnfinishedFile.append

    def watched(*args: Any) -> None:
        threads.add(threading.get_ident())
        append(*args)

    monkeypatch.setattr(module._UnfinishedFile, "append", watched)

    await export(repeated(1_500), tmp_path / "out.csv")

    assert threads
    assert threading.get_ident() not in threads
