"""``RESULTS.md``: rendering and reading its table and absolute numbers."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.machine import describe
from benchmarks.measure import Row

_HEAD = """# Results

Client and server on loopback, each in its own process and pinned to its own core; medians of
interleaved runs. `make bench` makes them again; `NOTES.md` explains them. Where a row was measured
alone, its day stands with its absolute numbers.

Machine: {machine}; load average {load:.1f} at the end (about 1.5 is this work alone, more
slows both sides down). Peers: {peers}. {day}.

| # | measure | against | target | result | verdict |
|---|---|---|---|---|---|
"""
_PEERS = (
    *("facebook_business", "snowplow-tracker", "posthog", "segment-analytics-python"),
    *("amplitude-analytics", "hubspot-api-client", "hubspot-sdk", "httpx", "aiohttp"),
    *("procrastinate", "pgqueuer"),
)
_VERDICTS = {True: "reached", False: "**missed**", None: "not measured"}


def render(rows: Sequence[Row]) -> str:
    """Return the content of the file."""
    head = _HEAD.format(
        machine=describe(),
        load=os.getloadavg()[0],
        peers=_peers(),
        day=f"{datetime.now(UTC):%Y-%m-%d}",
    )
    table = "\n".join(_line(row) for row in rows)
    numbers = "\n".join(_numbers(row) for row in rows if row.details)
    return f"{head}{table}\n\n## Absolute numbers\n{numbers}\n{_hidden_rows(rows)}"


def _line(row: Row) -> str:
    cells = (
        str(row.number),
        row.measure,
        row.against,
        row.target,
        row.result,
        _VERDICTS[row.reached],
    )
    return f"| {' | '.join(cells)} |"


def _numbers(row: Row) -> str:
    return "\n".join(
        (
            f"\n{row.number}. {row.measure}{f' ({row.day})' if row.day else ''}\n",
            *(f"   - {detail}" for detail in row.details),
        )
    )


def _hidden_rows(rows: Sequence[Row]) -> str:
    # In an HTML comment, so that a run of one comparison can keep the other rows.
    return "\n".join(("<!--", *(row.to_json().replace("--", "- -") for row in rows), "-->", ""))


def read_rows(path: Path) -> list[Row]:
    """Return the rows that `render` hid in the file; none if there is no file."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return [Row.from_json(line) for line in lines if line.startswith('{"number"')]


def _peers() -> str:
    from importlib.metadata import PackageNotFoundError, version

    versions = []
    for name in _PEERS:
        try:
            versions.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(versions)


def missing(modules: Iterable[str]) -> list[str]:
    """Return those of *modules* that are not installed."""
    return [name for name in modules if name not in sys.modules and not _is_installed(name)]


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # the package of a submodule
        return False
