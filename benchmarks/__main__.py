"""``python -m benchmarks [names…] [--quick]``: run the comparisons and write ``RESULTS.md``."""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import ALL
from benchmarks.machine import pin_client
from benchmarks.measure import Row
from benchmarks.report import missing, read_rows, render

RESULTS = Path(__file__).with_name("RESULTS.md")
TIMEOUT = 1800  # seconds for one comparison


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparisons in *arguments*; return 1 if a comparison could not be measured."""
    options = _parser().parse_args(arguments)
    if options.one:
        row = _run_here(options.one, options.quick, options.long)._replace(
            day=f"{datetime.now(UTC):%Y-%m-%d}"
        )
        print("\n" + row.to_json(), flush=True)
        return 0
    if options.rows:
        rows = [row for file in options.rows for row in read_rows(file)]
        RESULTS.write_text(render(_merged(rows)), encoding="utf-8")
        return 0
    rows = []
    for name in options.names or ALL:
        rows.append(row := _run_in_process(name, options.quick, options.long))
        print(
            f"{row.number:>2}. {row.measure}: {row.result}",
            *row.details,
            sep="\n      ",
            flush=True,
        )
    if not options.quick:
        RESULTS.write_text(render(_merged(rows)), encoding="utf-8")
        print(f"written to {RESULTS}")
    return int(any(row.reached is None for row in rows))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="name", help=f"of {', '.join(ALL)}; all if none"
    )
    parser.add_argument("--quick", action="store_true", help="toy sizes; writes no results")
    parser.add_argument(
        "--long",
        action="store_true",
        help="the full length of those that are shortened: postgres_held takes ten minutes",
    )
    parser.add_argument("--one", choices=ALL, help="measure one and print its row as JSON")
    parser.add_argument(
        "--rows",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="measure nothing: put the rows that --one printed into the results, for those of the "
        "same numbers",
    )
    return parser


def _run_here(name: str, quick: bool, long: bool = False) -> Row:
    script = importlib.import_module(f"benchmarks.{name}")
    if absent := missing(script.NEEDS):
        measure = (script.__doc__ or "").partition(": ")[2].strip()
        reason = f"not measured: {', '.join(absent)} not installed, see `make bench`"
        return Row(script.NUMBER, measure, "", "", reason, None)
    pin_client()
    run = getattr(script, "run_long", script.run) if long else script.run
    row: Row = run(quick)
    return row


def _run_in_process(name: str, quick: bool, long: bool = False) -> Row:
    # Peers start threads, change settings of the process and leave memory behind.
    options = [*(["--quick"] if quick else []), *(["--long"] if long else [])]
    command = [sys.executable, "-m", "benchmarks", "--one", name, *options]
    process = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        timeout=TIMEOUT,
        check=False,
    )
    if process.returncode:
        raise SystemExit(f"{name} failed:\n{process.stderr[-3000:]}")
    return Row.from_json(process.stdout.splitlines()[-1])


def _merged(new: Sequence[Row]) -> list[Row]:
    """Return *new*, with the other rows from the file, in order."""
    rows = {row.number: row for row in read_rows(RESULTS)}
    rows.update((row.number, row) for row in new)
    return [rows[number] for number in sorted(rows)]


if __name__ == "__main__":
    sys.exit(main())
