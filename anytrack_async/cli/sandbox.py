"""`anytrack sandbox`: local stand-ins of the services, for trying the library."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from anytrack_async.cli.output import FAILED, INTERRUPTED, complain, sandbox_module


def sandbox(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free one.")] = 8400,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    faults: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of requests that fail on purpose.")
    ] = 0.0,
    seed: Annotated[
        int, typer.Option(help="Selects the requests that fail; the same seed, the same ones.")
    ] = 0,
    unprepared: Annotated[
        bool,
        typer.Option("--unprepared", help="HubSpot without AnyTrack's properties, to try setup."),
    ] = False,
) -> None:
    """Serve stand-ins for AnyTrack, Meta and HubSpot until Ctrl-C.

    Prints the export lines that point a shell, and any client started from it, at them.
    """
    module = sandbox_module()
    settings = module.SandboxSettings(
        seed=seed,
        faults=module.Faults(rate=faults, seed=seed),
        hubspot=module.HubSpotPortal(prepared=not unprepared),
    )
    try:
        module.serve(settings, host=host, port=port, echo=_print_line)
    except OSError as exc:
        reason = os.strerror(exc.errno) if exc.errno else exc
        complain(f"cannot listen on {host} port {port}: {reason}; try another --port")
        raise typer.Exit(FAILED) from None
    # It returns only when it was interrupted.
    raise typer.Exit(INTERRUPTED)


def _print_line(line: str) -> None:
    if line.startswith("export "):
        typer.echo(line)
        return
    typer.echo(f"# {line}; press Ctrl-C to stop")
    # With an e-mail address, because Meta rejects events that identify no customer.
    typer.echo("# Paste these lines into another shell, then try:")
    typer.echo("#   anytrack track lead --email somebody@example.com")
