"""Answers of all services: a request is accepted, or refused in ways that name no conversion."""

from __future__ import annotations

from typing import Any

import httpx
import orjson


def accept(request: httpx.Request) -> httpx.Response:
    body = orjson.loads(request.content)
    if "data" in body:
        return httpx.Response(200, json={"events_received": len(body["data"])})
    if "send" in request.url.path:
        return httpx.Response(204)
    if "inputs" in body:
        results = [{**item, "id": f"id of {item.get('id')}"} for item in body["inputs"]]
        return httpx.Response(200, json={"results": results})
    return httpx.Response(
        200, json={"status": "success", "conversion_id": str(body.get("order_id"))}
    )


def graph(code: int, **more: Any) -> dict[str, Any]:
    return {"error": {"message": "Invalid parameter", "code": code, **more}}


REFUSALS: dict[str, tuple[int, Any]] = {
    "a page": (400, "<html>Bad Request</html>"),
    "a firewall's page": (403, "<html>Blocked</html>"),
    "a page that is not found": (404, "<html>Not Found</html>"),
    "a wrong method": (405, {"detail": "Method Not Allowed"}),
    "an empty body": (400, ""),
    "an empty object": (400, {}),
    "a list": (422, []),
    "a gateway's words": (403, {"message": "Forbidden"}),
    "a framework's words": (404, {"error": "Not Found", "status": 404, "path": "/"}),
    "too large": (413, "<html>Request Entity Too Large</html>"),
    "a teapot": (418, {"message": "short and stout"}),
    "Meta's 100": (400, graph(100)),
    "Meta's 100 about a permission": (400, graph(100, error_subcode=33)),
    "Meta's 200": (403, graph(200)),
    "Meta's 21009": (400, graph(21009)),
    "Meta's unknown code": (400, graph(98_765, error_subcode=4_321)),
    "AnyTrack's unknown code": (400, {"error": {"code": "E1043", "message": "refused"}}),
    "AnyTrack's unknown conflict": (409, {"status": "error", "message": "a migration runs"}),
    "AnyTrack's 422": (422, {"status": "error", "message": "source disabled by its owner"}),
    "HubSpot's validation of the request": (
        400,
        {"category": "VALIDATION_ERROR", "message": "Unable to infer object type from: deals"},
    ),
    "HubSpot's 207": (207, {"results": [], "errors": [{"category": "NEW", "message": "no"}]}),
    "HubSpot's conflict": (409, {"category": "CONFLICT", "message": "conflict, please retry"}),
    "HubSpot's unknown category": (400, {"status": "error", "category": "NEW", "message": "no"}),
    "HubSpot's scopes": (400, {"category": "MISSING_SCOPES", "message": "no"}),
}


def response_of(status: int, body: Any) -> httpx.Response:
    content = body.encode() if isinstance(body, str) else orjson.dumps(body)
    return httpx.Response(status, content=content)
