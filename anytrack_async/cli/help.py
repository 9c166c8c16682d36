"""Help with the units of values: ``--timeout SECONDS``, not ``--timeout <float range>``.

typer shows the types of Python. `show_values` replaces them in all commands. A new option needs no
line in the table `VALUES`: an option that is not there shows its own name.
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
"""Parameter of a command → placeholder of its value in the help."""


def show_values(command: Any) -> None:
    """Let the help of *command*, and of its subcommands, show placeholders with units."""
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
