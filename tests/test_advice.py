"""What messages advise exists: each command with its options, each method, argument and variable.

Every string of the package is read, with its f-strings and its docstrings, and the templates of the
console. A message that says ``await client.outbox.forget('meta')`` must find that method.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import anytrack_async
from anytrack_async import testing
from anytrack_async.feeds.jetstream.publisher import JetStreamPublisher
from tests.test_site import commands
from tools.reference import environment

PACKAGE = Path(anytrack_async.__file__).parent
OBJECTS = {
    "client.outbox": anytrack_async.Outbox,
    "client": anytrack_async.AnyTrackClient,
    "outbox": anytrack_async.Outbox,
    "anytrack": anytrack_async.AnyTrack,
    "delivery": anytrack_async.Delivery,
}
"""The name of an object in a message → its class."""


def texts(path: Path) -> Iterator[str]:
    """The strings of a module; a value in an f-string is ``VALUE``."""
    if path.suffix != ".py":
        yield path.read_text(encoding="utf-8")
        return
    tree = ast.parse(path.read_text(encoding="utf-8"))
    parts = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for part in node.values
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else "VALUE"
                for part in node.values
            )
        elif isinstance(node, ast.Constant) and id(node) not in parts:
            yield node.value if isinstance(node.value, str) else ""


TEXTS = [
    (str(path.relative_to(PACKAGE)), re.sub(r"\s+", " ", text))
    for path in sorted([*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.html")])
    for text in texts(path)
]


def found(pattern: str) -> list[tuple[str, re.Match[str]]]:
    matches = [(path, match) for path, text in TEXTS for match in re.finditer(pattern, text)]
    assert matches, pattern
    return matches


def test_every_command_in_a_message_exists_with_its_options() -> None:
    known, names = commands(), set()
    for path, match in found(r"(?:`|: |then |with |run |\bthe command |^)(anytrack [a-z][^`;,)]*)"):
        call = match[1].split()
        name = next(
            (name for n in (3, 2) if (name := " ".join(call[:n]).rstrip(".:")) in known), None
        )
        if name is None and call[1].rstrip("`.:") in {"destination", "delivers"}:
            continue  # a sentence
        assert name is not None, f"{path}: no such command: {match[1]}"
        flags = {re.split(r"[=.\]]", word)[0] for word in call if re.match(r"--\w", word)}
        assert flags <= known[name], f"{path}: {match[1]}"
        names.add(name)
    assert {"anytrack outbox remove-destination", "anytrack outbox verify"} <= names


def test_every_method_in_a_message_exists() -> None:
    objects = "|".join(map(re.escape, OBJECTS))
    for path, match in found(rf"(?<![\w.])({objects})\.(\w+)\("):
        # In a template `outbox` is a variable, and in SQL `anytrack` is a schema.
        if path.endswith(".py") and not path.startswith("outbox/postgres/"):
            assert hasattr(OBJECTS[match[1]], match[2]), f"{path}: {match[0]}"


def test_every_argument_in_a_message_exists() -> None:
    for path, match in found(r"\b([A-Z]\w+)\((\w+)=[^=]"):
        owner = next(
            (
                getattr(place, match[1])
                for place in (anytrack_async, testing)
                if match[1] in place.__all__
            ),
            {"JetStreamPublisher": JetStreamPublisher}.get(match[1]),
        )
        if owner is None or match[2] == "VALUE":
            continue
        known = inspect.get_annotations(owner) | inspect.get_annotations(owner.__init__)
        assert match[2] in known, f"{path}: {match[0]}"


def test_every_variable_in_a_message_is_read() -> None:
    others = {"ANYTRACK_TEST_POSTGRES", "ANYTRACK_TEST_NATS", "ANYTRACK_REQUIRE_SERVERS"}
    prefixes = "ANYTRACK|META|HUBSPOT|SIGNED_WEBHOOK"
    for path, match in found(rf"\b(?:{prefixes})_[A-Z_]*[A-Z]\b(?!…)"):
        if "VALUE" in match[0] or match[0] == "HUBSPOT_DEFINED":  # HubSpot's own
            continue
        assert match[0] in environment.variables() | others, f"{path}: {match[0]}"


@pytest.mark.parametrize("name", ["forget", "remove-destination"])
def test_two_commands_with_similar_aims_name_each_other(name) -> None:
    import typer.main

    from anytrack_async.cli.app import app

    outbox = typer.main.get_command(app).commands["outbox"]
    other = {"forget": "remove-destination", "remove-destination": "forget"}[name]
    assert f"`anytrack outbox {other}`" in " ".join(outbox.commands[name].help.split())
