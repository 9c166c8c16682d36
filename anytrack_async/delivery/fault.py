"""What may be said of somebody else's exception."""

from __future__ import annotations

from anytrack_async.errors import AnyTrackError


def fault(exc: BaseException) -> str:
    """Return what to log or keep of *exc*: the text of our own errors, of others type and place.

    Their text may quote a customer or a token; where they were raised cannot.
    """
    if isinstance(exc, AnyTrackError):
        return str(exc)
    at = exc.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    where = f" in {at.tb_frame.f_code.co_name}, line {at.tb_lineno}" if at is not None else ""
    return f"{type(exc).__name__}{where}"
