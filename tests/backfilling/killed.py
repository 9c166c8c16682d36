"""A back-fill in a process of its own that kills itself at a step; run by ``test_kill``.

``python -m tests.backfilling.killed FOLDER STEP``: step 0 lets it finish.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import anyio
import httpx
import orjson

from anytrack_async import AnyTrackClient, BackfillSettings, MetaSettings, MetaSink, backfill
from anytrack_async.backfilling import resuming
from anytrack_async.outbox.sqlite.outbox import SQLiteOutbox


class Killer:
    """Kills the process at a step: before or after a call that changes anything."""

    def __init__(self, last: int) -> None:
        self._last = last
        self._step = 0

    def step(self) -> None:
        self._step += 1
        if self._step == self._last:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, owner: Any, name: str) -> None:
        method = getattr(owner, name)

        async def call(*args: Any, **options: Any) -> Any:
            self.step()
            result = await method(*args, **options)
            self.step()
            return result

        setattr(owner, name, call)


async def main(folder: Path, last: int) -> None:
    killer = Killer(last)

    async def answer(request: httpx.Request) -> httpx.Response:
        killer.step()
        events = orjson.loads(request.content)["data"]
        with (folder / "sent.txt").open("a") as log:
            log.writelines(f"{event['event_id']}\n" for event in events)
        killer.step()
        return httpx.Response(200, json={"events_received": len(events), "messages": []})

    killer.around(AnyTrackClient, "accept_many")
    killer.around(SQLiteOutbox, "save_checkpoint")
    resuming._CHECKPOINT_SECONDS = 0  # type: ignore[misc]
    transport = httpx.MockTransport(answer)
    meta = MetaSink(MetaSettings(pixel_id="p", access_token="t"), transport=transport)
    client = AnyTrackClient(
        "k", "a", sinks=[meta], outbox=folder / "outbox.db", transport=transport
    )
    settings = BackfillSettings(resume=True, to="meta", rejects=folder / "rejects.csv")
    async with client:
        report = await backfill(client, folder / "orders.csv", settings=settings)
    (folder / "report.json").write_bytes(orjson.dumps(report.resumed_at + report.counts.rows))


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]), int(sys.argv[2]))
