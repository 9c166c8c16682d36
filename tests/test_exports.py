"""What the package hands out is exactly what it says."""

from __future__ import annotations

import ast
import importlib
import inspect
import pickle
import pkgutil
import re
import typing
from pathlib import Path
from types import ModuleType

import attrs
import pytest

import anytrack_async
import anytrack_async.errors
import anytrack_async.models.answers
import anytrack_async.sandbox
import anytrack_async.testing


def packages() -> list[ModuleType]:
    found = pkgutil.walk_packages(anytrack_async.__path__, "anytrack_async.")
    names = [info.name for info in found if info.ispkg]
    return [anytrack_async, *map(importlib.import_module, names)]


def typed() -> dict[str, str]:
    """Name → module, as type checkers see the root package."""
    source = Path(str(anytrack_async.__file__)).read_text(encoding="utf-8")
    imported = [
        (alias.name, str(node.module))
        for block in ast.parse(source).body
        for node in (block.body if isinstance(block, ast.If) else [block])
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("anytrack_async")
        for alias in node.names
    ]
    listing = [module for name, module in imported if name == "*"]
    assert tuple(listing) == anytrack_async._LISTING
    listed = {name: m for m in listing for name in importlib.import_module(m).__all__}
    return {name: module for name, module in imported if name != "*"} | listed


@pytest.mark.parametrize("package", packages(), ids=lambda package: package.__name__)
def test_all_names_exist_once(package: ModuleType) -> None:
    names = getattr(package, "__all__", [])

    assert len(names) == len(set(names))
    assert all(hasattr(package, name) for name in names)


def test_type_checkers_and_the_interpreter_see_the_same() -> None:
    names = typed()

    assert names.pop("__version__") == "anytrack_async._version"
    assert names == anytrack_async._MODULE_OF | anytrack_async._listed()
    assert sorted({*anytrack_async.__all__} - {"__version__"}) == sorted(names)
    assert {*anytrack_async.__all__} <= {*dir(anytrack_async)}


@pytest.mark.parametrize("module", [anytrack_async.errors, anytrack_async.models.answers])
def test_a_listing_module_lists_every_class_it_defines(module: ModuleType) -> None:
    defined = {
        name
        for name, thing in vars(module).items()
        if isinstance(thing, type) and thing.__module__ == module.__name__
    }

    assert {*module.__all__} == defined


def test_events_lists_every_event_and_only_public_names() -> None:
    events = anytrack_async.events
    defined = {name for name, thing in vars(events).items() if isinstance(thing, type)}
    public = {name for name in defined if issubclass(vars(events)[name], events.Event)}

    assert public <= {*events.__all__}
    assert all(vars(events)[name].__module__ == events.__name__ for name in events.__all__)


def test_no_name_hides_behind_a_module_of_the_same_name() -> None:
    modules = {info.name for info in pkgutil.iter_modules(anytrack_async.__path__)}

    assert not modules & {*anytrack_async.__all__}


def test_a_star_brings_everything() -> None:
    names: dict[str, object] = {}
    exec("from anytrack_async import *", names)

    assert {*names} - {"__builtins__"} == {*anytrack_async.__all__}


def test_a_name_that_is_not_there_is_told_as_of_any_module() -> None:
    with pytest.raises(AttributeError, match="'anytrack_async' has no attribute 'Clint'") as told:
        anytrack_async.Clint  # type: ignore[attr-defined]  # noqa: B018

    # With both, a traceback suggests the name that was meant.
    assert (told.value.name, told.value.obj) == ("Clint", anytrack_async)
    with pytest.raises(ImportError, match="cannot import name 'Clint'"):
        exec("from anytrack_async import Clint")


@pytest.mark.parametrize("name", anytrack_async.__all__)
def test_classes_say_where_they_are(name: str) -> None:
    thing = getattr(anytrack_async, name)
    if isinstance(thing, type):
        assert pickle.loads(pickle.dumps(thing)) is thing
        assert thing.__module__.startswith("anytrack_async.")
    if isinstance(thing, type) and attrs.has(thing):
        assert typing.get_type_hints(thing)


def test_what_the_clients_methods_take_can_be_looked_up() -> None:
    for name, method in inspect.getmembers(anytrack_async.AnyTrackClient, inspect.isfunction):
        if not name.startswith("_"):
            assert "return" in typing.get_type_hints(method), name


def test_the_package_hands_out_every_public_name_it_imports() -> None:
    submodules = {info.name for info in pkgutil.iter_modules(anytrack_async.__path__)}
    # pytest adds names with "@" to a package that brings a plug-in.
    public = {name for name in vars(anytrack_async) if name[0] not in "_@"} - submodules

    assert public <= set(anytrack_async.__all__)


def test_every_public_name_has_a_docstring() -> None:
    for name in anytrack_async.__all__:
        thing = getattr(anytrack_async, name)
        if isinstance(thing, type):
            assert thing.__doc__, name
            assert not thing.__doc__.startswith("Method generated by attrs"), name


def test_every_error_is_caught_by_the_root() -> None:
    for name in anytrack_async.__all__:
        if name.endswith("Error"):
            assert issubclass(getattr(anytrack_async, name), anytrack_async.AnyTrackError), name


# Documentation

ROOT = Path(str(anytrack_async.__file__)).parents[1]
_DOCS = ROOT / "docs"
# docs/presets.md names columns of other systems' files, some of which are called as our classes.
PAGES = [
    *(ROOT / "README.md", ROOT / "CHANGELOG.md"),
    *sorted({*_DOCS.rglob("*.md")} - {_DOCS / "presets.md"}),
]


def defined_names() -> set[str]:
    """Classes and functions of the package's modules."""
    return {
        node.name
        for path in (ROOT / "anytrack_async").rglob("*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef | ast.FunctionDef)
    }


def documented_names() -> set[str]:
    """Names of classes in the text of README, CHANGELOG and docs, and all names they import."""
    texts = [page.read_text(encoding="utf-8") for page in PAGES]
    spans = [span for text in texts for span in re.findall(r"`([^`\n]+)`", text)]
    classes = {name for span in spans for name in re.findall(r"\b[A-Z][A-Za-z]*[a-z]\b", span)}
    imports = {
        alias.name
        for text in texts
        for block in re.findall(r"^```python[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        for node in ast.walk(ast.parse(block))
        if isinstance(node, ast.ImportFrom) and node.module == "anytrack_async"
        for alias in node.names
    }
    return (classes & defined_names()) | imports


def test_every_documented_name_is_importable_from_the_package() -> None:
    names = documented_names()

    assert {"AnyTrackClient", "SQLiteOutbox", "Retry", "LaneHeld", "to_records"} <= names
    doors = (anytrack_async, anytrack_async.sandbox, anytrack_async.testing)
    assert sorted(names.difference(*(door.__all__ for door in doors))) == []
    assert all(hasattr(door, name) for door in doors for name in door.__all__)
