"""`docs/vendor-rules.md` names pages of the vendors, and tests that exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/vendor-rules.md").read_text(encoding="utf-8")
RULES, CLIENTS = TEXT.split("## Where the vendors' clients behave differently")
NODES = set(re.findall(r"`(tests/[\w/]+\.py)::([\w:]+)`", TEXT))
PAGES = (
    r"https://(?:developers\.(?:facebook|hubspot)\.com|(?:readme|docs|support)\.anytrack\.io"
    r"|www\.standardwebhooks\.com)"
)
LINK = re.compile(rf"\[[^]]+\]\({PAGES}[^)]*\)")


def rows(text):
    """The cells of each row of the tables in *text*, without their heads."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [row for row in cells if row[0] not in ("rule", "client")]


@cache
def names_in(path):
    """The tests of a file, those of a class as ``Class::test``."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    names = set()
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}::{item.name}" for item in node.body if hasattr(item, "args")}
        elif hasattr(node, "args"):
            names.add(node.name)
    return names


def test_every_named_test_exists():
    assert len(NODES) > 100
    assert not {f"{path}::{name}" for path, name in NODES if name not in names_in(path)}


def test_every_named_file_exists():
    files = re.findall(r"`(?:tests/vendors/)?(test_\w+\.py)`", TEXT)

    assert not [name for name in files if not (ROOT / "tests/vendors" / name).exists()]


def test_every_rule_has_its_source_and_its_test():
    table = rows(RULES)

    assert len(table) > 80
    for rule, page, tests in table:
        source = LINK.search(page) or page.startswith(("same", "our ")) or "*observed*" in page
        assert source, rule
        assert "::test_" in tests, rule


def test_every_fault_of_a_client_is_asserted():
    table = rows(CLIENTS)

    assert table
    for client, fault, tests in table:
        assert client.startswith("`")
        assert "::test_" in tests, fault
