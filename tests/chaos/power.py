"""Power failures: what is on the disk if the power fails at any moment of a recorded run.

A run of an outbox is recorded, down to each write and sync that SQLite asks for. After a failure
the disk has everything that was synced, and any part of what was written since: nothing, the
beginning, or some of the sectors, of which some may be torn. Each image is opened, and must have
every conversion that was accepted before the failure.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import TypeAlias

import attrs

from anytrack_async import AnyTrackError, SQLiteOutbox
from anytrack_async.outbox.base import FailedEntry
from anytrack_async.testing.outbox_contract import Clock, sale
from tests.chaos.audit import verify
from tests.chaos.disk import SQLITE_OK, watching
from tests.chaos.trial import Round, Trial

IMAGES_PER_ROUND = 40
_STEPS = 60  # calls of the outbox in a recorded run
_DESTINATIONS = ("alpha", "beta")
_LEASE = 60.0
_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # images need no disk
_SECTOR = 512  # bytes: the smallest unit of a disk


@attrs.frozen
class Write:
    """*data* was written at *offset*."""

    file: str
    offset: int
    data: bytes


@attrs.frozen
class Truncation:
    """A file was cut or extended to *size*."""

    file: str
    size: int


@attrs.frozen
class Deletion:
    """A file was deleted."""

    file: str


@attrs.frozen
class Sync:
    """All that was written to a file so far is on the disk."""

    file: str


@attrs.frozen
class Accepted:
    """Conversions with these order numbers were accepted."""

    orders: frozenset[int]


@attrs.frozen
class Settled:
    """Conversions with these order numbers were claimed and settled, at any destination."""

    orders: frozenset[int]


Change: TypeAlias = Write | Truncation | Deletion
Step: TypeAlias = Change | Sync | Accepted | Settled


class Recording(list[Step]):
    """All steps, in order; a `disk.Disk`."""

    def write(self, file: str, offset: int, data: bytes) -> int:
        """Record a write."""
        self.append(Write(file, offset, data))
        return SQLITE_OK

    def truncate(self, file: str, size: int) -> int:
        """Record a truncation."""
        self.append(Truncation(file, size))
        return SQLITE_OK

    def sync(self, file: str) -> int:
        """Record a sync that has ended."""
        self.append(Sync(file))
        return SQLITE_OK

    def delete(self, file: str) -> int:
        """Record a deletion."""
        self.append(Deletion(file))
        return SQLITE_OK


async def attack(trial: Trial) -> None:
    """Record a run, make images of it at random moments, and open each of them."""
    for round_ in trial.rounds():
        clock = Clock()
        steps = await _record(round_, clock)
        trial.count(recorded_runs=1, writes=sum(isinstance(step, Write) for step in steps))
        trial.count(accepted=sum(len(s.orders) for s in steps if isinstance(s, Accepted)))
        moments = sorted(round_.random.sample(range(len(steps)), IMAGES_PER_ROUND))
        clock.advance(2 * _LEASE)
        for image, before in _images(steps, moments, round_.random):
            trial.count(images=1)
            where = f"round {round_.number}, failure after {len(before)} steps"
            with tempfile.TemporaryDirectory(dir=_MEMORY) as folder:
                await _check(trial, where, _write(image, Path(folder)), before, clock)


# Recording


async def _record(round_: Round, clock: Clock) -> Recording:
    recording, random, folder = Recording(), round_.random, round_.folder / "run"
    folder.mkdir()
    with watching(folder, recording):
        outbox = SQLiteOutbox(folder / "outbox.db", clock=clock)
        await outbox.open(_DESTINATIONS)
        orders = iter(range(1_000_000))
        for _ in range(_STEPS):
            clock.advance(random.uniform(0.0, 5.0))
            await _step(outbox, recording, random, orders, clock)
        steps = Recording(recording)
        await outbox.aclose()
    return steps


async def _step(
    outbox: SQLiteOutbox, recording: Recording, random: Random, orders: Iterator[int], clock: Clock
) -> None:
    match random.choice(("append", "append", "append", "settle", "settle", "claim", "prune")):
        case "append":
            batch = [next(orders) for _ in range(random.choice((1, 1, 2, 20, 60)))]
            await outbox.append([sale(order) for order in batch])
            recording.append(Accepted(frozenset(batch)))
        case "settle":
            claim = await outbox.claim(random.choice(_DESTINATIONS), random.randint(1, 80), _LEASE)
            failed = [
                FailedEntry(seq=entry.seq, attempts=1, error="no", due=clock.now)
                for entry in claim.entries
                if random.random() < 0.1
            ]
            # What is settled may be forgotten in a failure, but need not be.
            ids = (int(entry.conversion.order_id or "") for entry in claim.entries)
            recording.append(Settled(frozenset(ids)))
            await outbox.settle(claim, failed)
        case "claim":
            await outbox.claim(random.choice(_DESTINATIONS), random.randint(1, 20), _LEASE)
        case "prune":
            await outbox.prune(remember=1e9)


# Images


class _DiskState:
    """The files on the disk at a moment, and what was written to them since their last sync."""

    def __init__(self) -> None:
        self.synced: dict[str, bytearray] = {}
        self.pending: dict[str, list[Change]] = {}

    def apply(self, step: Step) -> None:
        match step:
            case Write() | Truncation() | Deletion():
                self.pending.setdefault(step.file, []).append(step)
            case Sync():
                # The first sync of a new file syncs the folder too, so deletions are on the disk.
                for file, changes in [*self.pending.items()]:
                    if file == step.file or isinstance(changes[-1], Deletion):
                        _change(self.synced, self.pending.pop(file))

    def image(self, random: Random) -> dict[str, bytes]:
        """Return file → content after a failure at this moment."""
        survives = random.choice(("nothing", "everything", "beginning", "sectors", "torn"))
        image = {file: bytearray(content) for file, content in self.synced.items()}
        for changes in self.pending.values():
            _change(image, _surviving(changes, survives, random))
        return {file: bytes(content) for file, content in image.items()}


def _change(files: dict[str, bytearray], changes: Iterable[Change]) -> None:
    for change in changes:
        content = files.setdefault(change.file, bytearray())
        match change:
            case Write(offset=offset, data=data):
                content.extend(bytes(max(0, offset - len(content))))
                content[offset : offset + len(data)] = data
            case Truncation(size=size):
                del content[size:]
                content.extend(bytes(size - len(content)))
            case Deletion():
                del files[change.file]


def _surviving(pending: Sequence[Change], survives: str, random: Random) -> Iterator[Change]:
    if survives == "everything":
        yield from pending
    elif survives == "beginning":
        *whole, last = pending[: random.randint(1, len(pending))]
        yield from whole
        # The last change that survives may have been cut at any byte.
        if isinstance(last, Write):
            last = attrs.evolve(last, data=last.data[: random.randint(0, len(last.data))])
        yield last
    elif survives in ("sectors", "torn"):
        for change in pending:
            if isinstance(change, Write):
                yield from _sectors(change, random, may_tear=survives == "torn")
            elif random.random() < 0.5:
                yield change


def _sectors(write: Write, random: Random, *, may_tear: bool) -> Iterator[Write]:
    for start in range(0, len(write.data), _SECTOR):
        data = write.data[start : start + _SECTOR]
        if may_tear and random.random() < 0.1:
            data = random.randbytes(len(data))
        if random.random() < 0.5:
            yield Write(write.file, write.offset + start, data)


def _images(
    steps: Sequence[Step], moments: Sequence[int], random: Random
) -> Iterator[tuple[Mapping[str, bytes], Sequence[Step]]]:
    """Yield the image after a failure at each of *moments*, and the steps before."""
    disk, done = _DiskState(), 0
    for moment in moments:
        for step in steps[done:moment]:
            disk.apply(step)
        done = moment
        yield disk.image(random), steps[:moment]


# Checking


def _write(image: Mapping[str, bytes], folder: Path) -> Path:
    """Write an image to *folder*, and return the path of the outbox."""
    for name, content in image.items():
        file = folder / name
        file.touch(0o600)
        file.write_bytes(content)
    return folder / "outbox.db"


async def _check(
    trial: Trial, where: str, path: Path, before: Sequence[Step], clock: Clock
) -> None:
    accepted = {order for step in before if isinstance(step, Accepted) for order in step.orders}
    settled = {order for step in before if isinstance(step, Settled) for order in step.orders}
    try:
        waiting, reported = await _read(trial, path, accepted, clock)
    except AnyTrackError as exc:
        trial.lose(f"{where}: {exc}")
        return
    trial.expect_none("lost", {f"{where}: {order}" for order in accepted - reported})
    trial.expect_none("not sent", {f"{where}: {order}" for order in accepted - waiting - settled})


async def _read(
    trial: Trial, path: Path, accepted: set[int], clock: Clock
) -> tuple[set[int], set[int]]:
    """Return the orders that wait for every destination, and those that the outbox knows."""
    outbox = SQLiteOutbox(path, clock=clock)
    await outbox.open(_DESTINATIONS)
    try:
        await verify(trial, outbox)
        reports = await outbox.reports([f"sale:{order}" for order in accepted])
        waiting = [await _claim_all(outbox, name) for name in _DESTINATIONS]
    finally:
        await outbox.aclose()
    reported = {order for order in accepted if f"sale:{order}" in reports}
    return set.intersection(*waiting), reported


async def _claim_all(outbox: SQLiteOutbox, destination: str) -> set[int]:
    orders: set[int] = set()
    while (claim := await outbox.claim(destination, 1000, _LEASE)).entries:
        orders |= {int(entry.conversion.order_id or "") for entry in claim.entries}
        await outbox.settle(claim)
    return orders
