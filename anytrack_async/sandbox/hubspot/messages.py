"""HubSpot's requests and responses: the parsed call, batch inputs, batch results and errors.

Source: HubSpot: error handling; CRM objects, batch upsert and batch create, multi-status errors.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any
from urllib.parse import parse_qs

import attrs
import orjson

from anytrack_async.sandbox.request import Request

SCOPES_PAGE = "https://developers.hubspot.com/scopes"
MAX_INPUTS = 100


# Requests


class Call:
    """One call.

    Attributes:
        request: the request.
        method: upper case.
    """

    def __init__(self, request: Request) -> None:
        self.request = request
        self.method = request.method

    @cached_property
    def data(self) -> dict[str, Any]:
        """The JSON body.

        Raises:
            HubSpotError: the body is not JSON, or not an object.
        """
        try:
            data = self.request.json() if self.request.body else {}
        except ValueError:
            raise _not_an_object() from None
        if not isinstance(data, dict):
            raise _not_an_object()
        return data

    @cached_property
    def _query(self) -> dict[str, list[str]]:
        return parse_qs(self.request.query.decode("latin-1"), keep_blank_values=True)

    def param(self, name: str) -> str | None:
        """Return the query parameter *name*."""
        return self._query.get(name, [None])[-1]

    def params(self, name: str) -> list[str]:
        """Return the values of *name*, which may be repeated or separated by commas."""
        return [value for text in self._query.get(name, []) for value in text.split(",") if value]


def objects_in(value: object) -> list[dict[str, Any]]:
    """Return the objects in *value* if it is a list; other items are ignored."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def strings_in(value: object) -> list[str]:
    """Return the strings in *value* if it is a list; other items are ignored."""
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _not_an_object() -> HubSpotError:
    return invalid("Invalid input JSON: the body must be a JSON object", reason="INVALID_JSON")


def batch_inputs(data: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """Return the inputs of a batch; a body without `inputs` has none.

    Raises:
        HubSpotError: they are not a list of objects, or too many.
    """
    inputs = data.get("inputs") or []
    if not isinstance(inputs, list) or not all(isinstance(item, dict) for item in inputs):
        raise invalid("Invalid input JSON: `inputs` must be an array of objects", reason="INPUTS")
    if len(inputs) > MAX_INPUTS:
        raise invalid(
            f"The maximum number of inputs supported in a batch request for '{kind}' is "
            f"{MAX_INPUTS}. Received {len(inputs)}.",
            reason="TOO_MANY_INPUTS",
        )
    return inputs


def batch_body(
    results: list[dict[str, Any]], errors: list[dict[str, Any]], now: Callable[[], str]
) -> dict[str, Any]:
    """Return the body of a reply to a batch; *now* returns the time as HubSpot writes it."""
    body = {"status": "COMPLETE", "results": results, "startedAt": now(), "completedAt": now()}
    return body if not errors else {**body, "numErrors": len(errors), "errors": errors}


# Errors


@attrs.frozen(kw_only=True)
class Problem:
    """A problem with one property of one input.

    Attributes:
        code: HubSpot's code.
        name: the property's name.
        category: of the error made of the problem.
    """

    code: str
    message: str
    name: str
    category: str = "VALIDATION_ERROR"

    def as_error_detail(self) -> dict[str, Any]:
        """Return the problem as an item of an error's `errors`."""
        return {
            "message": self.message,
            "code": self.code,
            "context": {"propertyName": [self.name]},
        }

    def as_message_part(self) -> dict[str, Any]:
        """Return the problem as an item of the list that an error's message contains."""
        return {
            "isValid": False,
            "message": self.message,
            "error": self.code,
            "name": self.name,
            "localizedErrorMessage": self.message,
        }


@attrs.frozen(kw_only=True, eq=False)
class HubSpotError(Exception):
    """A rejected request, or a rejected input of a batch.

    Attributes:
        reason: the ledger's key; the category if empty.
        details: items of `errors`.
        extra: further fields of the body.
        headers: of the reply.
    """

    status: int
    category: str
    message: str
    reason: str = ""
    details: tuple[dict[str, Any], ...] = ()
    context: dict[str, list[str]] = attrs.field(factory=dict)
    extra: dict[str, Any] = attrs.field(factory=dict)
    headers: tuple[tuple[bytes, bytes], ...] = ()

    def body(self, correlation_id: str) -> dict[str, Any]:
        """Return the body of the reply."""
        body: dict[str, Any] = {
            "status": "error",
            "message": self.message,
            "correlationId": correlation_id,
        }
        # HubSpot leaves empty fields out.
        if self.details:
            body["errors"] = list(self.details)
        if self.context:
            body["context"] = self.context
        return {**body, **self.extra, "category": self.category}

    def as_batch_error(self, **context: list[str]) -> dict[str, Any]:
        """Return the error as an item of a batch's `errors`."""
        return {
            "status": "error",
            "category": self.category,
            "message": self.message,
            "errors": list(self.details),
            "context": {**self.context, **context},
            "links": {},
            **self.extra,
        }


def invalid(message: str, *, reason: str = "", **context: list[str]) -> HubSpotError:
    """Return the 400 of an invalid request."""
    return HubSpotError(
        status=400, category="VALIDATION_ERROR", message=message, reason=reason, context=context
    )


def not_found(message: str, **context: list[str]) -> HubSpotError:
    """Return the 404 of a missing resource."""
    return HubSpotError(status=404, category="OBJECT_NOT_FOUND", message=message, context=context)


def invalid_values(problems: list[Problem], object_type: str) -> HubSpotError:
    """Return the error made of the *problems* of one input."""
    # The first problem decides the status. A missing property decides the message, unless the
    # record conflicts with another one.
    first = problems[0]
    missing = [p.name for p in problems if p.code == "MISSING_REQUIRED_PROPERTY"]
    if missing:
        message = f"Error creating {object_type}. Some required properties were not set."
        context = {"properties": missing}
    else:
        values = orjson.dumps([p.as_message_part() for p in problems]).decode()
        message, context = f"Property values were not valid: {values}", {}
    if first.category == "CONFLICT":
        message = first.message
    return HubSpotError(
        status=409 if first.category == "CONFLICT" else 400,
        category=first.category,
        message=message,
        reason=first.code,
        details=tuple(p.as_error_detail() for p in problems),
        context=context,
    )


def unauthorized(category: str) -> HubSpotError:
    """Return the 401 of a missing, unknown or expired token."""
    messages = {
        "INVALID_AUTHENTICATION": "Authentication credentials not found. This API supports OAuth "
        "2.0 authentication and you can find more details at "
        "https://developers.hubspot.com/docs/methods/auth/oauth-overview",
        "EXPIRED_AUTHENTICATION": "The OAuth token used to make this call expired 2 second(s) ago.",
    }
    return HubSpotError(status=401, category=category, message=messages[category])


def missing_scope(scope: str) -> HubSpotError:
    """Return the 403 of a token without *scope*."""
    detail = {
        "message": "One or more of the following scopes are required.",
        "context": {"requiredGranularScopes": [scope]},
    }
    return HubSpotError(
        status=403,
        category="MISSING_SCOPES",
        message="This app hasn't been granted all required scopes to make this call. "
        f"Read more about required scopes here: {SCOPES_PAGE}.",
        details=(detail,),
        extra={"links": {"scopes": SCOPES_PAGE}},
    )


def too_many(policy: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> HubSpotError:
    """Return the 429 of *policy*."""
    period = {"DAILY": "daily", "SECONDLY": "secondly"}.get(policy, "ten_secondly_rolling")
    return HubSpotError(
        status=429,
        category="RATE_LIMITS",
        message=f"You have reached your {period} limit.",
        reason=policy,
        extra={"errorType": "RATE_LIMIT", "policyName": policy},
        headers=headers,
    )
