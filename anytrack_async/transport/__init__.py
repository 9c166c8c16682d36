"""How requests reach a service: one session each, with a limit, time-outs and retries."""

from anytrack_async.transport.answer import Answer
from anytrack_async.transport.anytrack import anytrack_session
from anytrack_async.transport.base import Engine, Request, Transport
from anytrack_async.transport.faults import Fault, read_fault, service_error
from anytrack_async.transport.hints import retry_after
from anytrack_async.transport.limit import Limit
from anytrack_async.transport.retry import Repeat
from anytrack_async.transport.session import Session
from anytrack_async.transport.text import safe_text

__all__ = [
    "Answer",
    "Engine",
    "Fault",
    "Limit",
    "Repeat",
    "Request",
    "Session",
    "Transport",
    "anytrack_session",
    "read_fault",
    "retry_after",
    "safe_text",
    "service_error",
]
