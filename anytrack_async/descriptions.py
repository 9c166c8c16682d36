"""Short texts about values, exceptions and event ids, which may stand in messages and logs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from anytrack_async.errors import AnyTrackError

MAX_IDS = 20
"""Event ids that a log line names; more are counted."""

_MAX_SHOWN = 200  # characters
_DATABASE = re.compile(r"postgres(?:ql)?(?:\+\w+)?://(.*)", re.IGNORECASE | re.DOTALL)
_HIDDEN_ADDRESS = "postgresql://…"


def abbreviated(event_ids: Sequence[str], count: int | None = None) -> str:
    """Return up to 20 of *event_ids* and how many more there are, of *count* in all."""
    more = (len(event_ids) if count is None else count) - MAX_IDS
    return ", ".join(event_ids[:MAX_IDS]) + (f" and {more} more" if more > 0 else "")


def shown(value: object) -> str:
    """Return the `repr` of *value*, a setting or an argument, for a message; if long, its type.

    An integer of more than 4,300 digits has no `repr`, and that of some objects raises.
    """
    try:
        text = repr(value)
    except Exception:
        text = ""
    short = 0 < len(text) <= _MAX_SHOWN and text.isprintable()
    return text if short else f"a value of type {type(value).__name__}"


def safe_repr(value: object) -> str:
    """Return the whole `repr` of *value*, a field's; if it has none, its type."""
    try:
        return repr(value)
    except Exception:
        return f"<{type(value).__name__}>"


def safe_description(exc: BaseException) -> str:
    """Return a description of *exc* that is safe to log.

    The message of a foreign exception may contain customer data or a token, so only its type is
    used, with the function and line that raised it. Errors of this library have safe messages.
    """
    if isinstance(exc, AnyTrackError):
        return str(exc)
    # The innermost frame is the one that raised, e.g. "KeyError in deliver, line 31".
    traceback = exc.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None:
        return type(exc).__name__
    function, line = traceback.tb_frame.f_code.co_name, traceback.tb_lineno
    return f"{type(exc).__name__} in {function}, line {line}"


def database_address(text: str) -> str | None:
    """Return the address in *text* as the driver wants it; None if it is none of PostgreSQL.

    ``postgresql+asyncpg://db/shop`` of SQLAlchemy, ``POSTGRES://db/shop``, and either with
    whitespace around it as in a file of secrets, becomes ``postgresql://db/shop``.
    """
    match = _DATABASE.fullmatch(text.strip())
    return f"postgresql://{match[1]}" if match else None


def shown_address(address: str) -> str:
    """Return the address of a database without user, password and options.

    ``postgresql://shop:secret@db1:5432,db2/shop?sslmode=require`` becomes
    ``postgresql://db1:5432,db2/shop``. Of one that may have a part of a password elsewhere, as
    with a ``/`` in it, only ``postgresql://…`` is left.
    """
    try:
        url = urlsplit(address)
    except ValueError:
        return _HIDDEN_ADDRESS
    _, _, host = url.netloc.rpartition("@")
    shown = f"postgresql://{host}{url.path}"
    is_unclear = "@" in f"{url.path}{url.query}{url.fragment}" or not shown.isprintable()
    return _HIDDEN_ADDRESS if is_unclear else shown
