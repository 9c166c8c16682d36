"""Imports point down the layers, and only their own parts talk to some libraries."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "anytrack_async"

CONTRIBUTING = PACKAGE.parent / "CONTRIBUTING.md"


def layers() -> list[set[str]]:
    """The layers as CONTRIBUTING lists them, the lowest first."""
    (block,) = re.findall(
        r"^```layers\n(.+?)^```", CONTRIBUTING.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    return [set(line.split()) for line in reversed(block.splitlines())]


LAYERS = layers()
OWNERS: dict[str, set[str]] = {
    "aiohttp": {"transport", "integrations"},
    "cattrs": {"codec"},
    "h11": {"transport"},
    "httpcore": set(),
    "httpx": {"errors", "transport", "client", "testing"},
    "nats": {"feeds"},
    "uvloop": set(),  # the loop is the application's choice
    "yarl": {"transport"},
}

MODULES = sorted(PACKAGE.rglob("*.py"))


def ids(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def part(path: Path) -> str:
    """The module or package directly below the root that *path* belongs to."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def layer(name: str) -> int:
    return next(height for height, names in enumerate(LAYERS) if name in names)


@cache
def imports(path: Path) -> tuple[str, ...]:
    """Every module that *path* imports at run time."""
    names: list[str] = []
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return tuple(names)


def test_every_part_of_the_package_has_one_layer() -> None:
    listed = [name for names in LAYERS for name in names]

    assert sorted(listed) == sorted({*listed})
    assert {part(path) for path in MODULES} <= {*listed}


@pytest.mark.parametrize("path", MODULES, ids=ids)
def test_imports_point_down(path: Path) -> None:
    own = part(path)

    for name in imports(path):
        root, _, rest = name.partition(".")
        if root != "anytrack_async":
            continue
        other = rest.split(".")[0] if rest.split(".")[0] in set().union(*LAYERS) else "__init__"
        assert other == own or layer(other) < layer(own), f"{own} imports {name}"


@pytest.mark.parametrize("library", OWNERS)
def test_a_library_is_imported_by_its_own_parts_only(library: str) -> None:
    users = [path for path in MODULES if library in {name.split(".")[0] for name in imports(path)}]

    assert not [ids(path) for path in users if part(path) not in OWNERS[library]]
    assert bool(users) == bool(OWNERS[library])  # or the rule guards nothing


def test_delivery_knows_sinks_only_as_a_protocol() -> None:
    for path in (PACKAGE / "delivery").rglob("*.py"):
        sinks = {name for name in imports(path) if name.startswith("anytrack_async.sinks")}
        assert all(name.startswith("anytrack_async.destinations.sink.") for name in sinks), path
