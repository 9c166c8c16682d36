from __future__ import annotations

from typing import Any

import pytest

from anytrack_async.destinations.anytrack.api.attribution import Attributions
from anytrack_async.errors import DecodeError, InvalidArgumentError, NotFoundError
from tests.destinations.anytrack.api.api import Api

pytestmark = pytest.mark.asyncio

SHARED = {"model": "linear", "weights": {"touchpoint_1": 0.5, "touchpoint_2": "0.5"}}


@pytest.mark.parametrize("body", [SHARED, {"data": SHARED}])
async def test_model_and_weights_are_read(body: dict[str, Any]):
    api = Api(conversions__c1__attribution=body)
    found = await Attributions(api.session).calculate("c1")

    assert found.model == "linear"
    assert found.weights == {"touchpoint_1": 0.5, "touchpoint_2": 0.5}


@pytest.mark.parametrize("body", [{}, [], "text", {"model": "linear", "weights": {"a": "much"}}])
async def test_another_answer_is_a_decode_error(body: Any):
    with pytest.raises(DecodeError):
        await Attributions(Api(conversions__c1__attribution=lambda _: body).session).calculate("c1")


async def test_touchpoints_come_in_order_of_time():
    journey = [
        {"type": "click", "source": "google", "timestamp": "2026-01-02T10:00:00"},
        {"type": "view", "source": "meta", "timestamp": "2026-01-01T10:00:00Z", "campaign_id": "7"},
        {"type": "click", "timestamp": "2026-01-02T10:30:00+01:00"},
        {"type": "click", "timestamp": "soon"},
    ]
    api = Api(conversions__c1__touchpoints={"data": journey})
    found = await Attributions(api.session).touchpoints("c1")

    assert [one.source for one in found] == ["meta", None, "google"]
    assert found[0].campaign_id == "7"


@pytest.mark.parametrize("method", ["calculate", "touchpoints"])
async def test_unknown_and_impossible_ids(method: str):
    ask = getattr(Attributions(Api().session), method)

    with pytest.raises(NotFoundError):
        await ask("c2")
    for id_ in ("", ".."):
        with pytest.raises(InvalidArgumentError, match=r"^conversion_id "):
            await ask(id_)
