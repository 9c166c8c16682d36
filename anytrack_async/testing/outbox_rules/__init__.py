"""The parts of the outbox contract; subclass `anytrack_async.testing.outbox_contract`."""

import pytest

_PARTS = (
    "accepting",
    "base",
    "claiming",
    "giving_back",
    "joining",
    "letters",
    "retention",
    "telling",
)

# A broken promise is reported with the values that were compared, as in a test file.
pytest.register_assert_rewrite(*(f"{__name__}.{part}" for part in _PARTS))
