"""The contract suite of sinks: tests that every destination has to pass.

Test a destination of your own by subclassing `SinkContract` in a test file::

    class TestChatSink(SinkContract):
        reads_answers = False  # the chat confirms with its status alone

        def make(self, url, timeout):
            return ChatSink(url, token=self.secret, timeout=timeout)

        def confirm(self, request):
            return ServiceAnswer(status=200, body="ok")

The sink sends to a service on a free port of this machine, which answers what the subclass says. A
service that refuses single conversions says so in ``refuse``; without that method, the rules about
refused conversions are skipped. It needs ``pytest`` and ``pytest-asyncio``.
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

    Optional: ``refuse(request, key)`` returns the answer to a request whose conversion *key* is at
    fault, ``throttle(request)`` and ``deny(request)`` those that ask to wait and that do not accept
    the token, ``conversion(number)`` a conversion that the service accepts, and ``key(conversion)``
    the text by which a request shows that it has a conversion: its event id, unless you say
    otherwise. ``reads_answers = False`` is for a service that confirms with the status alone.
    """
