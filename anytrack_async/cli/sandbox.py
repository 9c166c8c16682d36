"""`anytrack sandbox`: local stand-ins for the three services."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from anytrack_async.cli.output import FAILED, INTERRUPTED, sandbox_module, write_error


def sandbox(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free port.")] = 8400,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    faults: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of requests that fail on purpose.")
    ] = 0.0,
    seed: Annotated[
        int, typer.Option(help="Selects the requests that fail; repeat it to repeat a run.")
    ] = 0,
    unprepared: Annotated[
        bool,
        typer.Option(
            "--unprepared", help="Start HubSpot without the properties that `setup` creates."
        ),
    ] = False,
) -> None:
    """Serve stand-ins for AnyTrack, Meta and HubSpot until Ctrl-C.

    Prints export lines for a shell: clients started from that shell use the stand-ins.
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
        write_error(f"cannot listen on {host} port {port}: {reason}; try another --port")
        raise typer.Exit(FAILED) from None
    # `serve` returns only when it is interrupted.
    raise typer.Exit(INTERRUPTED)


def _print_line(line: str) -> None:
    if line.startswith("export "):
        typer.echo(line)
        return
    typer.echo(f"# {line}; press Ctrl-C to stop")
    # With an e-mail address, because Meta rejects an event that identifies no customer.
    typer.echo("# Paste these lines into another shell, then try:")
    typer.echo("#   anytrack track lead --email somebody@example.com")
