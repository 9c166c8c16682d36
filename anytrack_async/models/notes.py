"""The notes of a model beside its fields: kinds of values that were left out, and a trace context.

A constructor has no client to tell about a value that it leaves out or cuts, so its object
remembers the kind. Kinds are noted by thread, because a converter of attrs does not know the object
that it works for. Nearly always there are none, and all that this costs is a look at an empty dict.
"""

from __future__ import annotations

from threading import get_ident
from typing import Final, TypeVar

NOTES: Final[dict[int, list[str]]] = {}
"""Thread → kinds noted by the constructor that it is in."""

NOTED_KINDS: Final[set[str]] = set()
"""All kinds that were noted in this process."""


def note_weakness(kind: str) -> None:
    """Note that the object under construction lost or shortened a value of *kind*."""
    NOTED_KINDS.add(kind)
    kinds = NOTES.setdefault(get_ident(), [])
    if kind not in kinds:
        kinds.append(kind)


def forget_notes() -> None:
    """Drop the notes of a constructor that raised; the next one in this thread starts with none."""
    NOTES.pop(get_ident(), None)


class Weakenable:
    """Base of models with a constructor that leaves out or cuts bad values instead of raising.

    The kinds of these values are neither compared, stored nor copied: `attrs.evolve` and an outbox
    drop them.
    """

    __slots__ = ("_weakened",)

    _weakened: tuple[str, ...]

    def __attrs_post_init__(self) -> None:
        if NOTES and (kinds := NOTES.pop(get_ident(), None)):
            object.__setattr__(self, "_weakened", tuple(kinds))

    @property
    def weakened(self) -> tuple[str, ...]:
        """Kinds of the values that were left out or cut, e.g. ``("private IP addresses",)``."""
        return getattr(self, "_weakened", ())


_W = TypeVar("_W", bound=Weakenable)


def with_weaknesses(model: _W, kinds: tuple[str, ...]) -> _W:
    """Let *model*, which is new, remember *kinds* in addition to its own, and return it."""
    if kinds:
        own = getattr(model, "_weakened", ())
        object.__setattr__(model, "_weakened", tuple(dict.fromkeys((*own, *kinds))))
    return model


# The trace context


class Traceable(Weakenable):
    """Base of a model that carries a trace context.

    It is not a field: it is not compared, copied by `attrs.evolve` or part of a dict or an export.
    An outbox stores it.
    """

    __slots__ = ("_traceparent",)

    _traceparent: str

    @property
    def traceparent(self) -> str | None:
        """The trace context (W3C ``traceparent``) of the span in which it was submitted, if any."""
        return getattr(self, "_traceparent", None)


def set_traceparent(conversion: Traceable, traceparent: str) -> None:
    """Let *conversion* carry *traceparent*."""
    object.__setattr__(conversion, "_traceparent", traceparent)
