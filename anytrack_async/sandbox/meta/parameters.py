"""A Graph API request's parameters: from the query, a form, a multipart form or a JSON body.

The Graph API accepts all four. A structured parameter may be JSON or a string that contains JSON;
Meta's own clients send a list of strings, each with the JSON of one event.
"""

from __future__ import annotations

from email.parser import BytesParser
from email.policy import HTTP
from typing import Any
from urllib.parse import parse_qsl

import orjson

from anytrack_async.sandbox.meta.errors import bad_parameter
from anytrack_async.sandbox.request import Request


def read_parameters(request: Request) -> dict[str, Any]:
    """Return the request's parameters; the body takes precedence over the query.

    Raises:
        GraphError: the body does not match its content type.
    """
    return {**request.params, **_read_body(request)}


def _read_body(request: Request) -> dict[str, Any]:
    content_type = request.header(b"content-type").partition(";")[0].strip().lower()
    if not request.body:
        return {}
    if content_type == "application/x-www-form-urlencoded":
        return dict(parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True))
    if content_type == "multipart/form-data":
        return _read_multipart(request)
    # Everything else is taken for JSON, with or without a content type.
    data = _load(request.body, "the request body")
    if not isinstance(data, dict):
        raise bad_parameter("The request body must be a JSON object.")
    return data


def _read_multipart(request: Request) -> dict[str, Any]:
    header = b"content-type: " + request.header(b"content-type").encode("latin-1") + b"\r\n\r\n"
    # The parser of e-mail reads multipart forms too, given the content type as a header.
    message = BytesParser(policy=HTTP).parsebytes(header + request.body)
    fields: dict[str, Any] = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        payload = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(payload, bytes):
            fields[name] = payload.decode("utf-8", "replace")
    return fields


def read_events(parameter: object) -> list[Any]:
    """Return the events of the parameter `data`.

    Raises:
        GraphError: it is not a list, or not JSON.
    """
    data = _load(parameter, "data") if isinstance(parameter, str) else parameter
    if not isinstance(data, list) or not data:
        raise bad_parameter("param data must be a non-empty array.")
    return [_load(item, "data") if isinstance(item, str) else item for item in data]


def _load(text: bytes | str, name: str) -> Any:
    try:
        return orjson.loads(text)
    except ValueError:
        raise bad_parameter(f"{name} must be valid JSON.") from None
