"""`fast_init`: frozen models that are made as fast as mutable ones.

attrs sets each field of a frozen instance by a call of `object.__setattr__`, which takes six times
as long as an assignment. A conversion and its customer have 34 fields, and a fifth of the time of
making them went there. So an instance is made in a mutable twin of its class, by assignments, and
gets its own class when it is complete.
"""

from __future__ import annotations

from typing import Any, TypeVar

import attrs

_T = TypeVar("_T")


def fast_init(cls: type[_T]) -> type[_T]:
    """Give *cls*, a frozen attrs class with slots, the constructor of its mutable twin.

    Its subclasses get constructors from attrs as usual.
    """
    model: Any = cls
    finish = getattr(cls, "__attrs_post_init__", None)

    def become_mutable(self: Any) -> None:
        if type(self) is cls:
            object.__setattr__(self, "__class__", twin)

    def become_frozen(self: Any) -> None:
        if finish is not None:
            finish(self)
        self.__class__ = cls

    model.__attrs_pre_init__ = become_mutable
    members = {
        "__module__": cls.__module__,
        "__slots__": (),  # else an instance could not change between the two classes
        "__setattr__": object.__setattr__,
        "__delattr__": object.__delattr__,
        "__attrs_post_init__": become_frozen,
    }
    twin: Any = type(cls.__name__, (cls,), members)
    twin = attrs.define(twin, these={}, slots=False, eq=False, repr=False)
    model.__init__ = twin.__init__
    return cls
