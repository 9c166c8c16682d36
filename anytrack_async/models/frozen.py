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
    """Let instances of *cls*, a frozen attrs class with slots, be made in a mutable twin."""
    model: Any = cls
    if not hasattr(cls, "__attrs_post_init__"):
        model.__attrs_post_init__ = _do_nothing  # else the twin's would not be called
    model.__attrs_pre_init__ = _become_mutable
    # attrs writes a constructor with assignments, because it takes the twin for a mutable class.
    twin: Any = attrs.define(_TWINS[cls], these={}, slots=False, eq=False, repr=False)
    model.__init__ = twin.__init__
    return cls


def mutable_twin(cls: type[_T]) -> type[_T]:
    """Return the mutable twin of *cls*, a frozen attrs class with slots.

    An instance of it becomes one of *cls* by an assignment of its ``__class__``.
    """
    return _TWINS[cls]


def _do_nothing(_: object) -> None:
    pass


def _become_mutable(instance: Any) -> None:
    object.__setattr__(instance, "__class__", _TWINS[type(instance)])


class _Twins(dict[type, type]):
    """Class → its mutable twin: a subclass with the same slots, made when it is first needed.

    A subclass of a model has a twin too, since it may have inherited the model's constructor.
    """

    def __missing__(self, frozen: Any) -> type:
        def become_frozen(instance: Any) -> None:
            frozen.__attrs_post_init__(instance)
            instance.__class__ = frozen

        members = {
            "__module__": frozen.__module__,
            "__slots__": (),  # else an instance could not change between the two classes
            "__setattr__": object.__setattr__,
            "__delattr__": object.__delattr__,
            "__attrs_post_init__": become_frozen,
        }
        self[frozen] = twin = type(frozen.__name__, (frozen,), members)
        return twin


_TWINS = _Twins()
