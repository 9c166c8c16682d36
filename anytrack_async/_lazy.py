"""`lazily`: names of a package whose modules are loaded when somebody asks for them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazily(
    package: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` for *package*.

    Type checkers must not see them: with a ``__getattr__`` every name would be right. So they go
    into the ``else`` of the ``if TYPE_CHECKING:`` that imports the same names.

    Args:
        package: its ``__name__``.
        homes: module of the package → the names that come from there, with blanks between them.
            The modules themselves can be asked for as well.
    """
    home_of = {name: home for home, names in homes.items() for name in names.split()}

    def __getattr__(name: str) -> Any:  # noqa: N807 - it becomes the package's own
        this = sys.modules[package]
        if name in home_of:
            value = getattr(import_module(f"{package}.{home_of[name]}"), name)
            setattr(this, name, value)
            return value
        if name in homes:
            return import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}", name=name, obj=this)

    def __dir__() -> list[str]:  # noqa: N807
        return sorted({*vars(sys.modules[package]), *home_of})

    return __getattr__, __dir__
