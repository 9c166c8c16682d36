"""The sinks of the destinations: those of the client, or those that the environment configures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from anytrack_async.backfilling.masking import masked_request
from anytrack_async.descriptions import safe_description
from anytrack_async.destinations.registry import destinations
from anytrack_async.destinations.sink import Preview, Sink, SupportsPreview
from anytrack_async.errors import ConfigurationError
from anytrack_async.models.conversion import Conversion
from anytrack_async.models.plain import as_json
from anytrack_async.web_console.masking import mask_texts, private_texts
from anytrack_async.web_console.source import ConsoleSource


@attrs.frozen(kw_only=True)
class Body:
    """The request bodies that a destination would get for a conversion.

    Attributes:
        requests: kind of the request → its body as JSON text, masked or not.
        match_keys: identifiers that the service will match the visitor by.
        missing: identifiers that would improve the match.
        problem: why the service would refuse it, or why the body is not known; else empty.
    """

    requests: Mapping[str, str] = attrs.field(factory=dict)
    match_keys: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    problem: str = ""


def configured_sinks(source: ConsoleSource) -> Mapping[str, Sink]:
    """Return destination → its sink; of a file, the sinks that the environment configures.

    They open no connection before the first request.
    """
    if source.client is not None:
        return source.client.sinks
    sinks = {}
    for destination in destinations():
        try:
            sink = destination.sink_from_env()
        except ConfigurationError:
            continue  # the page about settings shows the error
        if sink is not None:
            sinks[sink.name] = sink
    return sinks


def bodies(
    source: ConsoleSource, conversion: Conversion, *, reveal: bool = False
) -> Mapping[str, Body]:
    """Return destination → the request bodies that it would get for *conversion*.

    Args:
        source: has the sinks.
        conversion: the conversion.
        reveal: whether to show a customer's values as they are.
    """
    previews = {}
    for name, sink in configured_sinks(source).items():
        if not isinstance(sink, SupportsPreview):
            continue
        try:
            previews[name] = _body(sink.preview(conversion), conversion, reveal=reveal)
        except Exception as exc:  # the sink may be another package's
            previews[name] = Body(problem=f"the sink cannot tell: {safe_description(exc)}")
    return previews


def _body(preview: Preview, conversion: Conversion, *, reveal: bool) -> Body:
    requests: Any = preview.requests
    if not reveal:
        requests = masked_request(requests, conversion)
        requests = mask_texts(requests, private_texts(conversion))
    return Body(
        requests={kind: _json(request) for kind, request in requests.items()},
        match_keys=tuple(preview.match_keys),
        missing=tuple(preview.missing),
        problem=preview.problem,
    )


def _json(value: Any) -> str:
    import orjson

    try:
        return orjson.dumps(value, option=orjson.OPT_INDENT_2, default=str).decode()
    except orjson.JSONEncodeError:
        return as_json(value)
