"""The page with every command and option of the command line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import typer.main

from anytrack_async.cli.app import app

_HEAD = """\
# Commands

<!-- Written by `python -m tools.reference` from the commands in anytrack_async/cli. -->

The command `anytrack` comes with `anytrack_async[cli]`; `python -m anytrack_async` is the same.
`--help` behind any command says what is here.
"""


def page() -> str:
    """Return the page in Markdown."""
    root = typer.main.get_command(app)
    return _HEAD + "".join(_section(path, command) for path, command in _walk("anytrack", root))


def _walk(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    """Return the commands below *command* with their full names, in the order of the help."""
    commands = getattr(command, "commands", None)  # of a group
    if commands is None:
        yield path, command
        return
    for name, inner in commands.items():
        if not inner.hidden:
            yield from _walk(f"{path} {name}", inner)


def _section(path: str, command: Any) -> str:
    arguments = [param for param in command.params if param.param_type_name == "argument"]
    options = [param for param in command.params if param.param_type_name == "option"]
    usage = " ".join([path, *("[OPTIONS]" for _ in options[:1]), *map(_metavar, arguments)])
    parts = [f"\n## {path}\n", f"```text\n{usage}\n```\n", f"{_text(command.help)}\n"]
    rows = [f"| `{_metavar(item)}` | {_cell(getattr(item, 'help', None))} |" for item in arguments]
    rows += [f"| {_flags(item)} | {_cell(item.help)} |" for item in options if not item.hidden]
    if rows:
        parts.append("| argument or option | meaning |\n|---|---|\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def _metavar(argument: Any) -> str:
    name = argument.metavar or (argument.name or "").upper()
    return f"{name}..." if argument.nargs == -1 and "…" not in name and "..." not in name else name


def _flags(option: Any) -> str:
    flags = ", ".join(f"`{flag}`" for flag in [*option.opts, *option.secondary_opts])
    if option.is_flag or option.default in (None, (), []) or callable(option.default):
        return flags
    return f"{flags} (default: `{option.default}`)"


def _text(text: str | None) -> str:
    """Return help text without the mark-up that only the terminal knows."""
    return re.sub(r"\[/?\w+\]", "", (text or "").replace("\b", "")).strip()


def _cell(text: str | None) -> str:
    return " ".join(_text(text).split()).replace("|", "\\|")
