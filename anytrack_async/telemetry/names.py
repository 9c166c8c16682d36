"""Names of spans, attributes and metrics.

They follow OpenTelemetry's semantic conventions for messaging and for HTTP clients
(https://opentelemetry.io/docs/specs/semconv/). They are written out here, because the package with
the conventions' names changes more often than the names.
"""

from __future__ import annotations

from typing import Final

SCOPE: Final = "anytrack_async"
OUTBOX: Final = "anytrack.outbox"

# Spans

SEND_SPAN: Final = f"send {OUTBOX}"
"""Storing conversions in the outbox: one span for each ``submit`` or ``submit_many``."""


def process_span(destination: str) -> str:
    """Return the name of the span for a batch that is sent to *destination*."""
    return f"process {destination}"


# Attributes

SYSTEM: Final = "messaging.system"
OPERATION_NAME: Final = "messaging.operation.name"
OPERATION_TYPE: Final = "messaging.operation.type"
MESSAGING_DESTINATION: Final = "messaging.destination.name"
CONSUMER_GROUP: Final = "messaging.consumer.group.name"
BATCH_SIZE: Final = "messaging.batch.message_count"
MESSAGE_ID: Final = "messaging.message.id"

HTTP_METHOD: Final = "http.request.method"
HTTP_STATUS: Final = "http.response.status_code"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
URL: Final = "url.full"
ERROR_TYPE: Final = "error.type"

DESTINATION: Final = "destination"
OUTCOME: Final = "outcome"
STATE: Final = "state"

# Metrics

SENT_MESSAGES: Final = "messaging.client.sent.messages"
PROCESS_DURATION: Final = "messaging.process.duration"
REQUEST_DURATION: Final = "http.client.request.duration"
DELIVERIES: Final = "anytrack.deliveries"
OLDEST_AGE: Final = "anytrack.outbox.oldest_age"
LANE_STATE: Final = "anytrack.lane.state"
DEPTHS: Final = {
    "waiting": "anytrack.outbox.waiting",
    "retrying": "anytrack.outbox.retrying",
    "in_flight": "anytrack.outbox.in_flight",
    "dead": "anytrack.outbox.dead",
}
"""Attribute of `Depth` → the gauge that has it."""

SECONDS_BUCKETS: Final = (
    0.005,
    0.01,
    0.025,
    0.05,
    0.075,
    0.1,
    0.25,
    0.5,
    0.75,
    1.0,
    2.5,
    5.0,
    7.5,
    10.0,
)
"""Buckets of durations, as the conventions recommend for requests."""
