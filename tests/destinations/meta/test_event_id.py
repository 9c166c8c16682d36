"""Event ids that a browser's pixel sends too."""

from __future__ import annotations

from typing import Any

import pytest

from anytrack_async.destinations.meta.event import to_event
from anytrack_async.errors import ConfigurationError
from anytrack_async.models.outcome import Status
from tests.destinations.meta.conftest import make_conversion, make_settings


def event_id_of(function: Any, **fields: Any) -> Any:
    return to_event(make_conversion(**fields), make_settings(event_id=function))["event_id"]


def test_the_settings_give_meta_the_id_of_the_pixel():
    assert event_id_of(lambda conversion: conversion.order_id) == "o1"
    assert event_id_of(lambda conversion: 1001) == "1001"


@pytest.mark.parametrize("nothing", [None, ""])
def test_without_an_id_of_the_pixel_it_is_the_conversions_own(nothing: Any):
    assert event_id_of(lambda conversion: nothing) == "sale:o1"
    assert event_id_of(None) == "sale:o1"


def test_something_else_than_a_function_is_refused():
    with pytest.raises(ConfigurationError, match="event_id must be a function"):
        make_settings(event_id="order_id")


@pytest.mark.asyncio
async def test_a_function_that_fails_rejects_its_conversion_alone(wire: Any, sink_of: Any):
    def event_id(conversion: Any) -> Any:
        return conversion.custom_data["pixel"]

    batch = [make_conversion(1), make_conversion(2, custom_data={"pixel": "p2"})]
    first, second = await sink_of(event_id=event_id).deliver(batch)

    assert first.status is Status.REJECTED
    assert "MetaSettings.event_id" in first.error
    assert second.status is Status.DELIVERED
    assert wire.event_ids() == ["p2"]
