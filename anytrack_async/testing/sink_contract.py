"""The contract suite of sinks: tests that every destination has to pass.

Test a destination of your own by subclassing `SinkContract` in a test file::

    class TestChatSink(SinkContract):
        reads_answers = False  # the chat confirms with its status alone

        def make(self, url, timeout):
            return ChatSink(url, token=self.secret, timeout=timeout)

        def confirm(self, request):
            return ServiceAnswer(status=200, body="ok")

The sink sends to a stand-in for its service on a free port of this machine, which answers as the
subclass defines. For a service that refuses single conversions, define ``refuse``; without that
method, the rules about refused conversions are skipped. The suite needs ``pytest`` and
``pytest-asyncio``.
"""

from __future__ import annotations

from anytrack_async.testing.sink_rules.failures import FailureRules
from anytrack_async.testing.sink_rules.outcomes import OutcomeRules
from anytrack_async.testing.sink_rules.privacy import PrivacyRules
from anytrack_async.testing.stand_in import ServiceAnswer, ServiceRequest

__all__ = ["ServiceAnswer", "ServiceRequest", "SinkContract"]


class SinkContract(OutcomeRules, FailureRules, PrivacyRules):
    """Every rule of `Sink` as a test; a subclass implements ``make`` and ``confirm``.

    ``make(url, timeout)`` returns a sink that sends to *url* with the token ``self.secret`` and
    gives up a request after *timeout* seconds. ``confirm(request)`` returns the `ServiceAnswer`
    that accepts everything in a `ServiceRequest`.

    Optional: ``refuse(request, key)`` returns the answer that refuses the conversion *key* of a
    request, ``throttle(request)`` the answer that asks to wait, ``deny(request)`` the answer that
    does not accept the token, ``conversion(number)`` a conversion that the service accepts, and
    ``key(conversion)`` the text by which a request is recognised as having a conversion; by default
    its event id. ``reads_answers = False`` is for a service that confirms with the status alone.
    """
