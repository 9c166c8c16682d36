"""The rules of the sink contract by topic; subclass `testing.sink_contract.SinkContract`.

* `base`: the hooks that a subclass implements, and helpers;
* `outcomes`: limits, one outcome for each conversion, refused conversions, repeats;
* `failures`: temporary failures, failures that need an operator, time-outs, cancelled calls;
* `privacy`: neither the secret nor a customer's data is shown.
"""

import pytest

# pytest then shows the compared values of a failed assertion, as it does in a test file.
pytest.register_assert_rewrite(
    *(f"{__name__}.{topic}" for topic in ("base", "outcomes", "failures", "privacy"))
)
