"""`Traceable`: the trace context that a conversion carries from `submit` to its destinations."""

from __future__ import annotations

from anytrack_async.models.visitor import Weakenable


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
