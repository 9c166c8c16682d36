"""For tests: of an application that tracks conversions, of a destination or an outbox of your own.

The root package does not export these names, because most of them need the extra ``[sandbox]``;
`SinkContract` needs pytest too. A name is imported when it is first used. `outbox_contract` and
`plugin` are modules: import them by their full names.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anytrack_async.testing.clock import ManualClock as ManualClock
    from anytrack_async.testing.local_sandbox import LocalSandbox as LocalSandbox
    from anytrack_async.testing.recording import (
        QUICK as QUICK,
    )
    from anytrack_async.testing.recording import (
        RecordingClient as RecordingClient,
    )
    from anytrack_async.testing.recording import (
        RecordingSink as RecordingSink,
    )
    from anytrack_async.testing.recording import (
        assert_tracked as assert_tracked,
    )
    from anytrack_async.testing.sink_contract import SinkContract as SinkContract
    from anytrack_async.testing.stand_in import ServiceAnswer as ServiceAnswer
    from anytrack_async.testing.stand_in import ServiceRequest as ServiceRequest

_MODULES = {
    "LocalSandbox": "local_sandbox",
    "ManualClock": "clock",
    "QUICK": "recording",
    "RecordingClient": "recording",
    "RecordingSink": "recording",
    "ServiceAnswer": "stand_in",
    "ServiceRequest": "stand_in",
    "SinkContract": "sink_contract",
    "assert_tracked": "recording",
}

__all__ = [*_MODULES]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
