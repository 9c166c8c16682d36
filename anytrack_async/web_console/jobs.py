"""`Jobs`: replays and discards all dead letters that match, step by step, after the answer is sent.

100,000 dead letters take from some seconds to a minute. Each step is a short transaction, so that
lanes and other programs can use the outbox between two steps.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Literal, TypeAlias

import anyio
import attrs

from anytrack_async.descriptions import safe_description
from anytrack_async.web_console.security import Refused
from anytrack_async.web_console.selection import LetterSelection

Work: TypeAlias = Callable[["Job"], Awaitable[None]]
"""Does the work of a job, and adds to `Job.count`."""

_KEPT = 10
"""Number of ended jobs that are remembered, with their results."""


@attrs.define(kw_only=True, eq=False)
class Job:
    """A change of all dead letters that match, which continues after the request that began it.

    Attributes:
        id: identifies the job within this process.
        action: the change.
        selection: the dead letters to change.
        by: the admin's name.
        total: number of dead letters to change; None if it is not known.
        count: number of dead letters changed so far.
        began_at: when the job began, monotonic seconds.
        ended_after: duration of the job in seconds; None while it runs.
        problem: why the job ended before all dead letters were changed; empty if all were.
        ended: set when the job has ended.
    """

    id: int
    action: Literal["replay", "discard"]
    selection: LetterSelection
    by: str
    total: int | None = None
    count: int = 0
    began_at: float = attrs.field(factory=time.monotonic)
    ended_after: float | None = None
    problem: str = ""
    ended: anyio.Event = attrs.field(factory=anyio.Event, repr=False)

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self.ended_after is None

    @property
    def seconds(self) -> float:
        """How long it has been running, or took."""
        running_for = time.monotonic() - self.began_at
        return running_for if self.ended_after is None else self.ended_after


class Jobs:
    """The jobs of a console: one at a time, each in a task of its own.

    An application without a lifespan has no task group for them. So they are tasks of asyncio,
    which end with `aclose` or with the event loop.
    """

    def __init__(self) -> None:
        self._numbers = count(1)
        self._jobs: dict[int, Job] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}

    @property
    def running(self) -> Job | None:
        """The job that runs, if one does."""
        return next((job for job in self._jobs.values() if job.is_running), None)

    def get(self, job_id: int) -> Job | None:
        """Return a job; None if it is no longer remembered."""
        return self._jobs.get(job_id)

    def start(
        self,
        action: Literal["replay", "discard"],
        selection: LetterSelection,
        by: str,
        total: int | None,
        work: Work,
    ) -> Job:
        """Begin a job.

        Raises:
            Refused: another one runs.
        """
        if self.running is not None:
            raise Refused(
                409,
                "Nothing was changed: another replay or discard of many dead letters is running. "
                "The page of dead letters shows how far it is.",
            )
        job = Job(id=next(self._numbers), action=action, selection=selection, by=by, total=total)
        self._jobs[job.id] = job
        while len(self._jobs) > _KEPT:
            del self._jobs[min(self._jobs)]
        name = f"anytrack_async console {action}"
        self._tasks[job.id] = asyncio.get_running_loop().create_task(_run(job, work), name=name)
        self._tasks[job.id].add_done_callback(lambda task: self._end(job, task))
        return job

    def _end(self, job: Job, task: asyncio.Task[None]) -> None:
        # A callback, because a task that is cancelled before it begins runs no `finally`.
        del self._tasks[job.id]
        if task.cancelled():
            job.problem = "It was stopped."
        job.ended_after = time.monotonic() - job.began_at
        job.ended.set()

    def stop(self, job_id: int) -> None:
        """End a job between two steps; dead letters that it has changed stay changed."""
        if task := self._tasks.get(job_id):
            task.cancel()

    async def aclose(self) -> None:
        """End all jobs."""
        for job_id in list(self._tasks):
            self.stop(job_id)
            await self._jobs[job_id].ended.wait()


async def _run(job: Job, work: Work) -> None:
    try:
        await work(job)
    except Exception as exc:  # the outbox may be third-party code
        job.problem = f"It failed: {safe_description(exc)}"
