"""A Graph API request's parameters: from the query, a form, a multipart form or a JSON body.

The Graph API takes any of them, and a structured parameter may be JSON or the text of JSON; Meta's
own clients send a list of texts, each the JSON of one event.
"""

from __future__ import annotations

from email.parser import BytesParser
from email.policy import HTTP
from typing import Any
from urllib.parse import parse_qsl

import orjson

from anytrack_async.sandbox.meta.errors import bad_parameter
from anytrack_async.sandbox.request import Request


def parameters(request: Request) -> dict[str, Any]:
    """Return the request's parameters; the body wins over the query.

    Raises:
        GraphError: the body is not what its content type says.
    """
    return {**request.params, **_body(request)}


def _body(request: Request) -> dict[str, Any]:
    kind = request.header(b"content-type").partition(";")[0].strip().lower()
    if not request.body:
        return {}
    if kind == "application/x-www-form-urlencoded":
        return dict(parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True))
    if kind == "multipart/form-data":
        return _multipart(request)
    data = _loads(request.body, "the request body")
    if not isinstance(data, dict):
        raise bad_parameter("The request body must be a JSON object.")
    return data


def _multipart(request: Request) -> dict[str, Any]:
    header = b"content-type: " + request.header(b"content-type").encode("latin-1") + b"\r\n\r\n"
    message = BytesParser(policy=HTTP).parsebytes(header + request.body)
    fields: dict[str, Any] = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        payload = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(payload, bytes):
            fields[name] = payload.decode("utf-8", "replace")
    return fields


def events(given: object) -> list[Any]:
    """Return the events of the parameter `data`.

    Raises:
        GraphError: it is not a list, or not JSON.
    """
    data = _loads(given, "data") if isinstance(given, str) else given
    if not isinstance(data, list) or not data:
        raise bad_parameter("param data must be a non-empty array.")
    return [_loads(item, "data") if isinstance(item, str) else item for item in data]


def _loads(text: bytes | str, name: str) -> Any:
    try:
        return orjson.loads(text)
    except ValueError:
        raise bad_parameter(f"{name} must be valid JSON.") from None
