"""The options of `anytrack backfill`, and the source and the settings that they describe."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import wraps
from inspect import Parameter, Signature
from typing import Annotated, Any, TypeAlias, get_type_hints

import attrs
import typer

from anytrack_async.backfilling.mapping import FileMapping, load_mapping
from anytrack_async.backfilling.query import SqlQuery, connector
from anytrack_async.backfilling.settings import BackfillSettings, to_zone
from anytrack_async.backfilling.sources import Source
from anytrack_async.cli.selection import AGE_OR_TIME, OutboxOption, option, seconds_of
from anytrack_async.errors import ConfigurationError

Files: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(
        help="Files or patterns such as 'orders-*.csv.gz'; - is standard input.",
        metavar="FILE",
        show_default=False,
    ),
]
Preset: TypeAlias = Annotated[
    str | None,
    option("Which system wrote the file; default: recognised by its columns.", metavar="NAME"),
]
Map: TypeAlias = Annotated[
    str | None, option("Your own table of columns.", "--map", metavar="MAP.TOML")
]
Sql: TypeAlias = Annotated[
    str | None, option("Read the rows of this query instead of files.", metavar="QUERY")
]
Database: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="Database of --sql.",
        metavar="sqlite:///FILE|postgresql://…",
        envvar="DATABASE_URL",
        show_default=False,
    ),
]
To: TypeAlias = Annotated[
    str | None, option("Only to these destinations.", metavar="DESTINATION,…")
]
Since: TypeAlias = Annotated[
    str | None, option("Only conversions from this time on.", metavar=AGE_OR_TIME)
]
Until: TypeAlias = Annotated[
    str | None, option("Only conversions before this time.", metavar=AGE_OR_TIME)
]
Timezone: TypeAlias = Annotated[
    str | None, option("Zone of times that state none.", metavar="Europe/Berlin|+02:00")
]
DayFirst: TypeAlias = Annotated[
    bool | None,
    option("Whether 05/06/2026 is the 5th of June.", "--day-first/--month-first"),
]
Timestamp: TypeAlias = Annotated[
    str | None, option("Time of conversions for which the file has none.", metavar="TIME")
]
Contacts: TypeAlias = Annotated[
    str | None, option("HubSpot's export of contacts, for their addresses.", metavar="FILE")
]
Decimal: TypeAlias = Annotated[str | None, option("Decimal sign of amounts.", metavar=",|.")]
Currency: TypeAlias = Annotated[str | None, option("Of amounts that state none.", metavar="CODE")]
Amount: TypeAlias = Annotated[
    str | None,
    option("Which amount, if a file has several.", metavar="net|gross|revenue|payout"),
]
Delimiter: TypeAlias = Annotated[
    str | None, option("Separates cells; default: found in the file.", metavar="SIGN")
]
Encoding: TypeAlias = Annotated[
    str | None, option("Default: found in the file.", metavar="utf-8|cp1252|…")
]
Won: TypeAlias = Annotated[
    list[str] | None, option("Stage of deals that are won; repeatable.", metavar="STAGE")
]
Refunds: TypeAlias = Annotated[
    str, option("Count refunds only, or send an event Refund.", metavar="skip|custom")
]
Duplicates: TypeAlias = Annotated[
    str, option("Rows accepted before: count or reject them.", metavar="skip|fail")
]
TooOld: TypeAlias = Annotated[
    str,
    option("What a destination would refuse for its age: skip it there.", metavar="skip|dead"),
]
OnlyFirst: TypeAlias = Annotated[bool, option("Only each customer's first row.", "--only-first")]
Test: TypeAlias = Annotated[bool, option("Also rows made in a test mode.", "--test")]
Limit: TypeAlias = Annotated[int | None, option("Read so many rows.", metavar="COUNT")]
Rate: TypeAlias = Annotated[
    float | None, option("Accept so many conversions a second.", metavar="COUNT")
]
Rejects: TypeAlias = Annotated[
    str | None,
    option("Write rejected rows here; corrected, it is a source again.", metavar="FILE"),
]
MaxRejects: TypeAlias = Annotated[
    int | None, option("Stop after so many rejected rows.", metavar="COUNT")
]
DryRun: TypeAlias = Annotated[
    bool, option("Read and check everything; send and write nothing.", "--dry-run")
]
Inspect: TypeAlias = Annotated[
    bool, option("Show how the first rows would be sent; send nothing.", "--inspect")
]
Resume: TypeAlias = Annotated[bool, option("Go on where an earlier run stopped.", "--resume")]
NoWait: TypeAlias = Annotated[
    bool, option("End once all is in the outbox; `anytrack deliver` sends it.", "--no-wait")
]
Json: TypeAlias = Annotated[bool, option("Write JSON, for programs.", "--json")]
Yes: TypeAlias = Annotated[bool, option("Do not ask.", "--yes", "-y")]


@attrs.frozen(kw_only=True)
class CommandLine:
    """Everything that may stand behind ``anytrack backfill``, in the order of its help."""

    files: Files = None
    preset: Preset = None
    map_file: Map = None
    sql: Sql = None
    database: Database = None
    to: To = None
    since: Since = None
    until: Until = None
    timezone: Timezone = None
    day_first: DayFirst = None
    timestamp: Timestamp = None
    decimal: Decimal = None
    currency: Currency = None
    amount: Amount = None
    delimiter: Delimiter = None
    encoding: Encoding = None
    contacts: Contacts = None
    won: Won = None
    refunds: Refunds = "skip"
    duplicates: Duplicates = "skip"
    too_old: TooOld = "skip"
    only_first: OnlyFirst = False
    test: Test = False
    limit: Limit = None
    rate: Rate = None
    rejects: Rejects = None
    max_rejects: MaxRejects = None
    outbox: OutboxOption = None
    dry_run: DryRun = False
    inspect: Inspect = False
    resume: Resume = False
    no_wait: NoWait = False
    as_json: Json = False
    yes: Yes = False


def with_options(command: Callable[[CommandLine], None]) -> Callable[..., None]:
    """Return *command* as a function with an argument for each option, as typer reads it."""
    hints = get_type_hints(CommandLine, include_extras=True)

    @wraps(command)
    def run(**values: Any) -> None:
        command(CommandLine(**values))

    run.__annotations__ = hints
    run.__signature__ = Signature(  # type: ignore[attr-defined]
        [
            Parameter(
                field.name,
                Parameter.KEYWORD_ONLY,
                default=field.default,
                annotation=hints[field.name],
            )
            for field in attrs.fields(CommandLine)
        ]
    )
    return run


_NAMES = frozenset(field.name for field in attrs.fields(BackfillSettings))


@attrs.frozen(kw_only=True)
class Job:
    """The job that a command line describes.

    Attributes:
        source: the files or the query.
        preset: name of the preset; None if the columns decide.
        mapping: the user's own mapping.
        settings: how rows are read and handled.
    """

    source: Source
    preset: str | None
    mapping: FileMapping | None
    settings: BackfillSettings

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments that `backfill` and `inspect_source` share."""
        return {
            "source": self.source,
            "preset": self.preset,
            "mapping": self.mapping,
            "settings": self.settings,
        }


def to_job(command_line: CommandLine) -> Job:
    """Return the job that *command_line* describes.

    Raises:
        ConfigurationError: options contradict each other, or a value is not valid.
        OSError: the mapping cannot be read.
    """
    options = {field.name: getattr(command_line, field.name) for field in attrs.fields(CommandLine)}
    if options["preset"] is not None and options["map_file"] is not None:
        raise ConfigurationError("--preset and --map exclude each other: state one of them")
    map_file = options["map_file"]
    return Job(
        source=_source(options["files"] or (), options["sql"], options["database"]),
        preset=options["preset"],
        mapping=None if map_file is None else load_mapping(map_file),
        settings=_settings(options),
    )


def _source(files: Sequence[str], sql: str | None, database: str | None) -> Source:
    if sql is None:
        if not files:
            raise ConfigurationError("name a FILE, - for standard input, or --sql with --database")
        return list(files)
    if files:
        raise ConfigurationError("--sql and FILE exclude each other: state one of them")
    if not database:
        raise ConfigurationError("--sql needs --database, e.g. --database sqlite:///orders.db")
    return SqlQuery(sql=sql, connect=connector(database))


def _settings(options: Mapping[str, Any]) -> BackfillSettings:
    values = {name: value for name, value in options.items() if name in _NAMES}
    values["to"] = _names(options["to"])
    values["won"] = options["won"] or ()
    values["wait"] = not options["no_wait"]
    for name in ("since", "until", "timestamp"):
        values[name] = _moment(options[name], f"--{name}", options["timezone"])
    if options["timestamp"] and options["timezone"] is None and _is_naive(options["timestamp"]):
        raise ConfigurationError(
            "--timestamp has no time zone: write the offset behind it, or state --timezone"
        )
    try:
        return BackfillSettings(**values, advice="command")
    except ConfigurationError as exc:
        setting, blank, problem = str(exc).partition(" ")
        if setting not in _NAMES:
            raise
        raise ConfigurationError(f"--{setting.replace('_', '-')}{blank}{problem}") from None


def _is_naive(value: str) -> bool:
    return seconds_of(value) is None and datetime.fromisoformat(value.strip()).tzinfo is None


def _names(value: str | None) -> list[str] | None:
    if value is None:
        return None
    return [name.strip() for name in value.split(",") if name.strip()]


def _moment(value: str | None, option_: str, zone: str | None) -> datetime | None:
    """Return a time, or the moment of an age; times without a zone are in *zone*, else in UTC."""
    if value is None:
        return None
    if (seconds := seconds_of(value)) is not None:
        return datetime.now(UTC) - timedelta(seconds=seconds)
    try:
        moment = datetime.fromisoformat(value.strip())
    except ValueError:
        raise ConfigurationError(
            f"{option_} needs a time such as 2026-01-31 or 2026-01-31T12:00:00+01:00, or an age "
            "such as 30d or 12h"
        ) from None
    return moment.replace(tzinfo=moment.tzinfo or (UTC if zone is None else to_zone(zone)))
