"""`Guard`: errors become a line on standard error and an exit code, never a traceback."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from anytrack_async.cli.output import complain
from anytrack_async.errors import AnyTrackError, ConfigurationError, InvalidArgumentError

FAILED = 1
MISUSED = 2
INTERRUPTED = 130


class Guard(TyperGroup):
    """Runs a command and turns what it raises into a message and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that *ctx* names."""
        with _Warnings():
            try:
                return super().invoke(ctx)
            except (ConfigurationError, InvalidArgumentError) as exc:
                complain(str(exc))
                raise typer.Exit(MISUSED) from None
            except BrokenPipeError:
                raise  # whoever reads has had enough: typer ends quietly
            except (AnyTrackError, OSError) as exc:
                complain(str(exc))
                raise typer.Exit(FAILED) from None
            except KeyboardInterrupt:
                complain("stopped", label="interrupted")
                raise typer.Exit(INTERRUPTED) from None


@contextmanager
def quiet() -> Iterator[None]:
    """Hide the library's warnings, but not its errors."""
    logger = logging.getLogger("anytrack_async")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


class _Warnings(logging.Handler):
    """Shows the library's warnings as lines, for as long as a command runs."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._logger = logging.getLogger("anytrack_async")

    def __enter__(self) -> None:
        self._logger.addHandler(self)

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Show *record*."""
        complain(record.getMessage(), label=record.levelname.lower())
