"""The command `anytrack`: its subcommands, options and exit codes."""

from __future__ import annotations

from typing import Annotated

import typer

from anytrack_async._version import __version__
from anytrack_async.cli.backfill import backfill
from anytrack_async.cli.console import console
from anytrack_async.cli.database import copy, migrate
from anytrack_async.cli.dead_letters import add_commands
from anytrack_async.cli.deliver import deliver
from anytrack_async.cli.demo import demo, sandbox
from anytrack_async.cli.destinations import check, destinations, setup
from anytrack_async.cli.export import export
from anytrack_async.cli.forget import forget
from anytrack_async.cli.keys import keys, new_key, rekey
from anytrack_async.cli.listen import listen
from anytrack_async.cli.outbox import commands as outbox_commands
from anytrack_async.cli.outbox import stats
from anytrack_async.cli.output import ErrorReporter, replace_unencodable
from anytrack_async.cli.pauses import pause, resume
from anytrack_async.cli.pump import pump
from anytrack_async.cli.reconcile import reconcile
from anytrack_async.cli.reports import (
    PlotCommand,
    affiliate_commands,
    attribution,
    report_commands,
    touchpoints,
)
from anytrack_async.cli.track import track
from anytrack_async.client.environment import warn_of_unknown_variables

app = typer.Typer(
    cls=ErrorReporter,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(requested: bool) -> None:
    if requested:
        typer.echo(f"anytrack_async {__version__}")
        raise typer.Exit


@app.callback()
def _setup(
    _: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Track conversions to AnyTrack, Meta and HubSpot at once.

    Credentials come from environment variables, which
    `anytrack destinations` lists. ANYTRACK_OUTBOX is the path of the
    outbox file, or postgresql://…, and ANYTRACK_OUTBOX_KEYS are the keys
    that encrypt a file.

    Exit codes: 0 success, 1 failure, 2 wrong usage or configuration,
    130 stopped by Ctrl-C, 143 by SIGTERM. `backfill` and `deliver`
    have more.
    """
    replace_unencodable()
    warn_of_unknown_variables()


app.command()(demo)
app.command()(sandbox)
app.command()(track)
app.command()(backfill)
app.command()(deliver)
app.command()(listen)
app.command()(pump)
app.command()(console)
app.command()(export)
app.command()(reconcile)
app.command(cls=PlotCommand)(attribution)
app.command()(touchpoints)
app.add_typer(report_commands)
app.add_typer(affiliate_commands)
app.command()(stats)
add_commands(outbox_commands)
for name, command in (("keys", keys), ("new-key", new_key), ("rekey", rekey)):
    outbox_commands.command(name)(command)
outbox_commands.command("forget")(forget)
outbox_commands.command("pause")(pause)
outbox_commands.command("resume")(resume)
outbox_commands.command("migrate")(migrate)
outbox_commands.command("copy")(copy)
app.add_typer(outbox_commands)
app.command()(destinations)
app.command()(check)
app.command()(setup)
