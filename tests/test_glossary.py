"""The glossary defines each word once, and names only what the package has."""

from __future__ import annotations

import re
from pathlib import Path

import anytrack_async

ROOT = Path(__file__).parent.parent
GLOSSARY = (ROOT / "docs/glossary.md").read_text(encoding="utf-8")
TERMS = re.findall(r"^\| \*\*(.+?)\*\*", GLOSSARY, re.MULTILINE)


def test_every_word_is_defined_once() -> None:
    assert len(TERMS) >= 40
    assert sorted(TERMS) == sorted({*TERMS})


def test_every_class_that_is_named_is_public() -> None:
    classes = set(re.findall(r"`([A-Z]\w+)`", GLOSSARY))

    assert classes
    assert classes <= {*anytrack_async.__all__}


def test_every_method_that_is_named_exists() -> None:
    source = "".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "anytrack_async").rglob("*.py")
    )
    stems = re.findall(r"`([a-z]+_)…`", GLOSSARY)

    assert stems
    assert all(re.search(rf"def {stem}\w+", source) for stem in stems)
