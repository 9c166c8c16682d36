"""``RESULTS.md``: the table, the absolute numbers below it, and the way back from it."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.machine import described
from benchmarks.measure import Row

_HEAD = """# Results

Client and server on loopback, each in its own process and pinned to its own core; medians of
interleaved runs. `make bench` makes them again; `NOTES.md` says what was learnt on the way.

Machine: {machine}; load average {load:.1f} at the end (about 1.5 is this work alone, more
slows both sides down). Peers: {peers}. {day}.

| # | measure | against | reach | got | verdict |
|---|---|---|---|---|---|
"""
_PEERS = (
    *("facebook_business", "snowplow-tracker", "posthog", "segment-analytics-python"),
    *("amplitude-analytics", "hubspot-api-client", "hubspot-sdk", "httpx", "aiohttp"),
)
_VERDICTS = {True: "reached", False: "**missed**", None: "not measured"}


def written(rows: Sequence[Row]) -> str:
    """Return the whole file."""
    head = _HEAD.format(
        machine=described(),
        load=os.getloadavg()[0],
        peers=_peers(),
        day=f"{datetime.now(UTC):%Y-%m-%d}",
    )
    table = "\n".join(_line(row) for row in rows)
    numbers = "\n".join(_numbers(row) for row in rows if row.details)
    return f"{head}{table}\n\n## Absolute numbers\n{numbers}\n{_kept(rows)}"


def _line(row: Row) -> str:
    cells = (str(row.number), row.measure, row.against, row.reach, row.got, _VERDICTS[row.reached])
    return f"| {' | '.join(cells)} |"


def _numbers(row: Row) -> str:
    return "\n".join((f"\n{row.number}. {row.measure}\n", *(f"   - {one}" for one in row.details)))


def _kept(rows: Sequence[Row]) -> str:
    # Out of sight, so that a run of one comparison keeps the other rows.
    return "\n".join(("<!--", *(row.to_json().replace("--", "- -") for row in rows), "-->", ""))


def read(path: Path) -> list[Row]:
    """Return the rows that `written` kept in the file, none if it is not there."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return [Row.of_json(line) for line in lines if line.startswith('{"number"')]


def _peers() -> str:
    from importlib.metadata import PackageNotFoundError, version

    found = []
    for name in _PEERS:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def missing(modules: Iterable[str]) -> list[str]:
    """Return those of *modules* that are not installed."""
    return [name for name in modules if name not in sys.modules and not _found(name)]


def _found(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # the package of a submodule
        return False
