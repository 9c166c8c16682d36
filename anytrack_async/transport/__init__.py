"""How requests reach a service: one session each, with a limit, time-outs and retries."""

from anytrack_async.transport.answer import Answer
from anytrack_async.transport.anytrack import anytrack_session
from anytrack_async.transport.faults import Fault, read_fault, service_error
from anytrack_async.transport.hints import retry_after
from anytrack_async.transport.limit import LimitTransport
from anytrack_async.transport.retry import RetryTransport
from anytrack_async.transport.session import Session
from anytrack_async.transport.text import safe_text
from anytrack_async.transport.wrapper import Transport, Wrapper

__all__ = [
    "Answer",
    "Fault",
    "LimitTransport",
    "RetryTransport",
    "Session",
    "Transport",
    "Wrapper",
    "anytrack_session",
    "read_fault",
    "retry_after",
    "safe_text",
    "service_error",
]
