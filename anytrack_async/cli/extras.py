"""What is installed only on request."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

import typer

from anytrack_async.cli.guard import MISUSED
from anytrack_async.cli.output import complain


def sandbox_module() -> ModuleType:
    """Return `anytrack_async.sandbox`, or say what to install and end with exit code 2."""
    try:
        return import_module("anytrack_async.sandbox")
    except ImportError as exc:
        complain(str(exc))
        raise typer.Exit(MISUSED) from None
