"""`anytrack stats`: the backlog of each destination, from the outbox file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import anyio
import attrs
import typer
from rich.table import Table
from rich.text import Text

from anytrack_async.cli.outbox import open_outbox, outbox_path
from anytrack_async.cli.output import BAD, GOOD, NOTE, make_table, stdout_console, write_json
from anytrack_async.outbox.base import Depth

Depths = Mapping[str, Depth]


def stats(
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")] = False,
) -> None:
    """Show each destination's backlog in the outbox that ANYTRACK_OUTBOX names.

    Sends nothing and changes nothing; another process may have the outbox open.
    """
    path = outbox_path()
    depths = anyio.run(_depths, path)
    if as_json:
        write_json({"outbox": str(path), "destinations": _records(depths)})
        return
    stdout_console().print(Text(f"outbox {path}"), soft_wrap=True)
    console = stdout_console(wide=True)
    console.print(_table(depths) if depths else "no destination has used this outbox yet")


async def _depths(path: Path) -> Depths:
    async with open_outbox(path) as outbox:
        return await outbox.depths()


def _records(depths: Depths) -> dict[str, dict[str, int]]:
    return {name: attrs.asdict(depth) for name, depth in depths.items()}


def _table(depths: Depths) -> Table:
    table = make_table("destination", ">waiting", ">in flight", ">retrying", ">dead", "")
    for name, depth in depths.items():
        numbers = (depth.waiting, depth.in_flight, depth.retrying, depth.dead)
        table.add_row(Text(name), *map(str, numbers), _remark(depth))
    return table


def _remark(depth: Depth) -> Text:
    if depth.dead:
        return Text("see: anytrack outbox dead-letters", BAD)
    return Text("not all delivered yet", NOTE) if depth.waiting else Text("all delivered", GOOD)
