"""`anytrack export`: the conversions that AnyTrack has, as a file."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import anyio
import typer

from anytrack_async.cli import periods
from anytrack_async.cli.output import stdout_console, write_json
from anytrack_async.cli.selection import option
from anytrack_async.client.export_formats import COLUMNS, FORMATS
from anytrack_async.errors import ConfigurationError

_Path = Annotated[
    Path,
    typer.Argument(
        help="The file to write; its suffix selects the format.", metavar="FILE", show_default=False
    ),
]
_Format = Annotated[
    str | None,
    option(
        "Default: the suffix of FILE. The last three are for import by these services.",
        "--format",
        metavar="|".join(FORMATS),
    ),
]
_Columns = Annotated[
    str | None,
    option(f"Which fields, in order; 'all' for {', '.join(COLUMNS)}.", metavar="NAME,…|all"),
]
_Force = Annotated[bool, option("Replace the file if it exists.", "--force", "-f")]


def export(
    path: _Path,
    first: periods.From = None,
    last: periods.To = None,
    format_: _Format = None,
    columns: _Columns = None,
    source: periods.Source = None,
    campaign: periods.Campaign = None,
    force: _Force = False,
    as_json: periods.Json = False,
) -> None:
    """Write the conversions that AnyTrack has to a file that only you may read.

    The file appears complete or not at all. `anytrack backfill` reads a
    .csv, .jsonl or .parquet file back. For google-ads and microsoft-ads,
    only conversions with their click id are written.
    """
    if path.exists() and not force:
        raise ConfigurationError(f"{path} exists; use --force to replace it")
    count = anyio.run(
        partial(
            _export,
            path,
            periods.to_range(first, last),
            format_=format_,
            columns=_names(columns),
            source=source,
            campaign=campaign,
        )
    )
    if as_json:
        write_json({"file": str(path), "conversions": count})
    else:
        line = f"{count:,} conversions are in {path}"
        stdout_console().print(line, markup=False, soft_wrap=True)


async def _export(
    path: Path,
    period: tuple[periods.Moment, periods.Moment],
    *,
    format_: str | None,
    columns: Sequence[str] | None,
    source: str | None,
    campaign: str | None,
) -> int:
    async with periods.reading_client() as client:
        return await client.export_conversions(
            path, period, source=source, campaign_id=campaign, format=format_, columns=columns
        )


def _names(value: str | None) -> Sequence[str] | None:
    if value is None:
        return None
    return COLUMNS if value == "all" else [name.strip() for name in value.split(",")]
