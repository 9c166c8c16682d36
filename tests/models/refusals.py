"""The error of a conversion that cannot be built, and a text that no error may quote."""

from __future__ import annotations

from typing import Any

import pytest

from anytrack_async.errors import InvalidConversionError
from anytrack_async.models.conversion import Conversion

SECRET = "jane@example.com"


def error_of(**fields: Any) -> InvalidConversionError:
    """The error that a sale with *fields* raises."""
    with pytest.raises(InvalidConversionError) as caught:
        Conversion(**{"conversion_type": "sale", **fields})
    return caught.value
