"""`anytrack sandbox`."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from anytrack_async.cli.extras import sandbox_module
from anytrack_async.cli.guard import FAILED, INTERRUPTED
from anytrack_async.cli.output import complain


def sandbox(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8400,
    host: Annotated[str, typer.Option(help="Address of this machine.")] = "127.0.0.1",
    faults: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of requests that fail on purpose.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="Which requests fail; the same seed, the same.")] = 0,
    unprepared: Annotated[
        bool,
        typer.Option("--unprepared", help="HubSpot without AnyTrack's properties, to try set-up."),
    ] = False,
) -> None:
    """Serve stand-ins for AnyTrack, Meta and HubSpot until Ctrl-C.

    Prints the lines that point a shell, and any client started from it, at them.
    """
    module = sandbox_module()
    settings = module.SandboxSettings(
        seed=seed,
        faults=module.Faults(rate=faults, seed=seed),
        hubspot=module.HubSpotPortal(prepared=not unprepared),
    )
    try:
        module.serve(settings, host=host, port=port, echo=_say)
    except OSError as exc:
        why = os.strerror(exc.errno) if exc.errno else exc
        complain(f"cannot listen on {host} port {port}: {why}; try another --port")
        raise typer.Exit(FAILED) from None
    # It serves until it is interrupted.
    raise typer.Exit(INTERRUPTED)


def _say(line: str) -> None:
    if line.startswith("export "):
        typer.echo(line)
        return
    typer.echo(f"# {line}; Ctrl-C ends it")
    # With something to match a customer by: Meta takes no event without.
    typer.echo("# Paste these lines into another shell, then try:")
    typer.echo("#   anytrack track lead --email somebody@example.com")
