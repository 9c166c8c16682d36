"""AnyTrack, Meta's Conversions API and HubSpot on one local port, to try and to test against.

Each stand-in follows its vendor's paths, shapes, limits and errors, and shares no code with the
client, so that a mistake in the client does not meet the same mistake here. A ledger counts what
arrived; faults can be injected; nothing leaves the machine.
"""

try:
    import starlette as _starlette  # noqa: F401
    import uvicorn as _uvicorn  # noqa: F401
except ImportError as missing:
    raise ImportError(
        "the sandbox needs Starlette and uvicorn: pip install 'anytrack_async[sandbox]'"
    ) from missing

from anytrack_async.sandbox.app import SandboxApp, create_app
from anytrack_async.sandbox.faults import FAULT_KINDS, FaultKind, Faults
from anytrack_async.sandbox.sandbox import Sandbox, environment, exports
from anytrack_async.sandbox.server import in_thread, running, serve
from anytrack_async.sandbox.settings import (
    AnyTrackAccount,
    HubSpotPortal,
    MetaPixel,
    SandboxSettings,
)

__all__ = [
    "FAULT_KINDS",
    "AnyTrackAccount",
    "FaultKind",
    "Faults",
    "HubSpotPortal",
    "MetaPixel",
    "Sandbox",
    "SandboxApp",
    "SandboxSettings",
    "create_app",
    "environment",
    "exports",
    "in_thread",
    "running",
    "serve",
]
