"""The contract of a destination, for the chat room of `own_destination.py`.

$ pytest test_chat_sink.py
"""

from __future__ import annotations

from own_destination import ChatSink

from anytrack_async.testing import ServiceAnswer, ServiceRequest, SinkContract


class TestChatSink(SinkContract):
    """Each test of the contract, against a chat that answers as the methods say."""

    reads_answers = False  # the chat confirms a message with its status alone

    def make(self, url: str, timeout: float) -> ChatSink:
        """Return a sink that posts to *url*."""
        return ChatSink(url, self.secret, timeout=timeout)

    def confirm(self, request: ServiceRequest) -> ServiceAnswer:
        """Accept the message."""
        return ServiceAnswer(status=204)

    def refuse(self, request: ServiceRequest, key: str) -> ServiceAnswer:
        """Refuse the message, because of one of its conversions."""
        return ServiceAnswer(status=422, body={"error": "invalid text"})
