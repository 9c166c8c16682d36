"""``python -m benchmarks [names…] [--quick]``: run the comparisons and write ``RESULTS.md``."""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import ALL
from benchmarks.machine import pin_client
from benchmarks.measure import Row
from benchmarks.report import missing, read, written

RESULTS = Path(__file__).with_name("RESULTS.md")
LONGEST = 1800  # seconds for one comparison


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what *arguments* ask for; 1 if a comparison could not be made."""
    options = _parser().parse_args(arguments)
    if options.one:
        print("\n" + _one(options.one, options.quick).to_json(), flush=True)
        return 0
    rows = []
    for name in options.names or ALL:
        rows.append(row := _in_a_process(name, options.quick))
        print(
            f"{row.number:>2}. {row.measure}: {row.got}", *row.details, sep="\n      ", flush=True
        )
    if not options.quick:
        RESULTS.write_text(written(_joined(rows)), encoding="utf-8")
        print(f"written to {RESULTS}")
    return int(any(row.reached is None for row in rows))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="name", help=f"of {', '.join(ALL)}; all if none"
    )
    parser.add_argument("--quick", action="store_true", help="toy sizes; writes no results")
    parser.add_argument("--one", choices=ALL, help=argparse.SUPPRESS)
    return parser


def _one(name: str, quick: bool) -> Row:
    script = importlib.import_module(f"benchmarks.{name}")
    if lacking := missing(script.NEEDS):
        what = f"not measured: {', '.join(lacking)} not installed, see `make bench`"
        return Row(
            script.NUMBER, (script.__doc__ or "").partition(": ")[2].strip(), "", "", what, None
        )
    pin_client()
    row: Row = script.run(quick)
    return row


def _in_a_process(name: str, quick: bool) -> Row:
    # Of its own: peers start threads, change settings of the process and leave memory behind.
    command = [sys.executable, "-m", "benchmarks", "--one", name, *(["--quick"] if quick else [])]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        timeout=LONGEST,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-3000:]}")
    return Row.of_json(done.stdout.splitlines()[-1])


def _joined(new: Sequence[Row]) -> list[Row]:
    """Return *new* and those rows of the last full run that were not made again."""
    known = {row.number: row for row in read(RESULTS)}
    known.update((row.number, row) for row in new)
    return [known[number] for number in sorted(known)]


if __name__ == "__main__":
    sys.exit(main())
