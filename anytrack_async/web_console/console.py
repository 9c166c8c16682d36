"""`console`: shows an outbox's conversions and their deliveries in a browser."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from anytrack_async.client.client import AnyTrackClient
from anytrack_async.errors import ConfigurationError
from anytrack_async.outbox.base import Outbox

if TYPE_CHECKING:
    from anytrack_async.web_console.app import Console
    from anytrack_async.web_console.security import AdminCheck


def console(
    source: AnyTrackClient | Outbox | str | os.PathLike[str],
    *,
    admin: AdminCheck | None = None,
    title: str = "Conversion console",
) -> Console:
    """Return an ASGI application that shows every delivery in a browser.

    Mount it under any path, with or without a lifespan, behind the login that the application has::

        app.mount("/conversions", console(client, admin=lambda request: request.user.is_staff))

    It shows the state of every destination, dead letters, single conversions, revenue, and checks.
    Customers' data is masked. All users that can reach the console may read; an admin may also
    replay, correct and discard dead letters, pause destinations, and see a customer's data. Each
    such action is logged, with the admin's name.

    Args:
        source: a client; an outbox that is open; or the path or DSN of an outbox, which works while
            no client runs. If the outbox is encrypted, ``ANYTRACK_OUTBOX_KEYS`` has its keys.
        admin: is called with a Starlette ``Request`` and returns whether its sender is an admin, or
            the admin's name for the log; may be a coroutine function. Default: there is no admin.
        title: the console's name.

    Raises:
        ConfigurationError: *source* is none of these, or the extra ``[console]`` is not installed.
    """
    try:
        # Imported here, so that without the extra, the error names the extra.
        from anytrack_async.web_console.app import Console
        from anytrack_async.web_console.pages import Context
        from anytrack_async.web_console.source import ConsoleSource
    except ImportError as exc:
        raise ConfigurationError(
            f"the console needs {exc.name}: pip install 'anytrack_async[console]'"
        ) from None
    return Console(Context(source=ConsoleSource(source), admin=admin, title=title))
