"""The peer of row 8: tasks that wait, a thread that commits, and no client."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import SimpleQueue
from threading import Thread

from anytrack_async import Conversion
from benchmarks.measure import Cost

INSERT = "INSERT INTO log (event_id, payload, digest, at) VALUES (?, ?, ?, ?)"

Row = tuple[object, ...]


def open_database(file: Path) -> sqlite3.Connection:
    """Return a new database with a log like ours, synced with each commit."""
    sql = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    sql.execute("PRAGMA journal_mode = WAL")
    sql.execute("PRAGMA synchronous = FULL")
    sql.execute(
        "CREATE TABLE log (seq INTEGER PRIMARY KEY, event_id TEXT NOT NULL UNIQUE,"
        " payload BLOB, digest BLOB NOT NULL, at REAL NOT NULL)"
    )
    return sql


async def bound(
    file: Path, sales: Sequence[Conversion], tasks: int, row: Callable[[Conversion], Row]
) -> Cost:
    """Let *tasks* tasks write a *row* for each of *sales* to the disk; return the cost of one."""
    sql, queue = open_database(file), iter(sales)
    writer = _Writer(sql)
    writer.start()

    async def work() -> None:
        for sale in queue:
            await writer.write(row(sale))

    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(work() for _ in range(tasks)))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    writer.stop()
    sql.close()
    return Cost(wall / len(sales), cpu / len(sales))


class _Writer(Thread):
    """Commits in groups: all rows that arrived during the previous commit."""

    def __init__(self, sql: sqlite3.Connection) -> None:
        super().__init__(daemon=True)
        self._sql = sql
        self._loop = asyncio.get_running_loop()
        self._wakeups: SimpleQueue[bool] = SimpleQueue()
        self._calls: deque[tuple[Row, asyncio.Future[None]]] = deque()
        self._is_posted = False

    def write(self, row: Row) -> asyncio.Future[None]:
        committed = self._loop.create_future()
        self._calls.append((row, committed))
        if not self._is_posted:
            self._is_posted = True
            self._wakeups.put(True)
        return committed

    def run(self) -> None:
        while self._wakeups.get():
            self._is_posted = False  # before the calls are read: a later one posts again
            calls = [self._calls.popleft() for _ in range(len(self._calls))]
            self._sql.execute("BEGIN")
            self._sql.executemany(INSERT, [row for row, _ in calls])
            self._sql.execute("COMMIT")
            self._loop.call_soon_threadsafe(self._resolve, [future for _, future in calls])

    def _resolve(self, waiting: Sequence[asyncio.Future[None]]) -> None:
        for future in waiting:
            future.set_result(None)

    def stop(self) -> None:
        self._wakeups.put(False)
        self.join()
