"""Help that says what a value is: ``--timeout SECONDS``, not ``--timeout <float range>``.

typer shows the types of Python. `show_values` replaces them in every command at once, so that a new
option needs no more than a name. An option that is not in the table shows its own name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from functools import partial
from typing import Any, Final

VALUES: Final = {
    "click_id": "ID",
    "count": "COUNT",
    "currency": "CODE",
    "email": "ADDRESS",
    "event_id": "ID",
    "event_name": "NAME",
    "faults": "SHARE",
    "fields": "NAME=VALUE",
    "host": "ADDRESS",
    "limit": "COUNT",
    "order_id": "ID",
    "outbox": "PATH|DSN",
    "revenue": "AMOUNT",
    "seconds": "SECONDS",
    "seed": "NUMBER",
    "show_completion": "SHELL",
    "install_completion": "SHELL",
    "timeout": "SECONDS",
    "timestamp": "TIME",
}
"""Parameter of a command → what its help shows for a value."""


def show_values(command: Any) -> None:
    """Let the help of *command*, and of its subcommands, say what values are."""
    for subcommand in getattr(command, "commands", {}).values():
        show_values(subcommand)
    # The option --help is made on demand, so the parameters are changed when they are asked for.
    command.get_params = partial(_with_values, command.get_params)


def _with_values(get_params: Callable[[Any], Sequence[Any]], context: Any) -> Sequence[Any]:
    params = get_params(context)
    for param in params:
        if param.param_type_name == "argument":
            param.metavar = param.metavar or param.name.upper()
            # An argument shows its type behind its name; only choices say more than the name.
            param.display_type_rich = partial(_choices, param)
        elif getattr(param, "is_flag", False):
            param.metavar = ""
        elif param.metavar is None:
            param.metavar = _choices(param) or VALUES.get(param.name, param.name.upper())
    return params


def _choices(param: Any, ctx: Any = None) -> str | None:
    descriptor = getattr(param, "type_descriptor", None)
    choices = getattr(descriptor, "choices", None) or getattr(
        getattr(param, "type", None), "choices", None
    )
    words = (choice.value if isinstance(choice, Enum) else choice for choice in choices or ())
    return "|".join(map(str, words)) or None
