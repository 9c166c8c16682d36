"""The rules of the outbox contract by topic; subclass `testing.outbox_contract.OutboxContract`."""

import pytest

_TOPICS = (
    *("append", "base", "claim", "dead_letters", "destinations", "reports", "retention"),
    "sizes",
)

# pytest then shows the compared values of a failed assertion, as it does in a test file.
pytest.register_assert_rewrite(*(f"{__name__}.{topic}" for topic in _TOPICS))
