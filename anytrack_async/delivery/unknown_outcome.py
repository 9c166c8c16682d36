"""Appending again, after the answer of the outbox was lost.

A connection may break after the outbox has written the conversions and before its answer arrives.
An append is safe to repeat, because the event id decides: a conversion that had been written counts
as a repeat in the second append.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from time import monotonic

import anyio

from anytrack_async.delivery.room import Patience
from anytrack_async.errors import OutboxError, OutcomeUnknownError, UnsendableError
from anytrack_async.outbox.base import AppendResult
from anytrack_async.settings.delivery import DeliverySettings

_FIRST_PAUSE = 0.05  # seconds
_LONGEST_PAUSE = 1.0  # seconds


async def append_again(
    append: Callable[[], Awaitable[Sequence[AppendResult]]],
    error: OutcomeUnknownError,
    settings: DeliverySettings,
    patience: Patience,
    began: float | None = None,
) -> Sequence[AppendResult]:
    """Repeat *append*, which raised *error*, until the outbox answers.

    With the default settings, a call that began 2 s ago is repeated after 0.05 s, 0.1 s, 0.2 s, …
    for 8 s. Meanwhile the outbox may not be reachable at all, as during a failover.

    Args:
        append: appends the conversions once more.
        error: the exception of the first append.
        settings: `DeliverySettings.accept_within` limits the time.
        patience: whether that time counts from *began*, or from now.
        began: when the caller's call began, by `time.monotonic`; None for now.

    Raises:
        OutcomeUnknownError: there is no time left; the conversions may be written.
        Exception: any other that *append* raises but an `OutboxError`.
    """
    if began is None or patience is not Patience.LIMITED:
        began = monotonic()
    deadline, pause = began + settings.accept_within, _FIRST_PAUSE
    while monotonic() + pause < deadline:
        await anyio.sleep(pause)
        try:
            return await append()
        except UnsendableError:
            raise
        except OutboxError:  # whether the first try has written is still unknown
            pause = min(2 * pause, _LONGEST_PAUSE)
    raise error
